"""`report.html`: one export on one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segopt_callbacks.markup import Markup, element, joined, with_code
from segopt_callbacks.pages import reading, tables
from segopt_callbacks.pages.beside import beside_dense
from segopt_callbacks.pages.best import RULE, best_words
from segopt_callbacks.pages.charts import charts
from segopt_callbacks.pages.document import document, section
from segopt_callbacks.pages.entries import Report, Row
from segopt_callbacks.pages.figures import EXPLANATION
from segopt_callbacks.pages.gallery import gallery
from segopt_callbacks.pages.made import made_section, made_words
from segopt_callbacks.pages.outputs import outputs_table
from segopt_callbacks.pages.removed import channels_table, parse_channels
from segopt_callbacks.pages.strips import strips
from segopt_callbacks.pages.style import STYLE
from segopt_callbacks.records import sensitivity_table


def page(report: Mapping[str, Any], pictures: Mapping[str, str] | None = None) -> str:
    """The page of one report.

    Args:
        report: as `export_model` returns it.
        pictures: of disagreement, as `pictures.drawn` makes them: `input/EXAMPLE`, `truth/EXAMPLE`, `model/EXAMPLE`,
            `file/FORMAT` and `difference/FORMAT` -> a PNG as `data:` address.

    Raises:
        CorruptFileError: if the report is not as it should be.
    """
    parsed, channels = reading.parse(report), parse_channels(report.get("channels"))
    rows = parsed.rows
    sections = [
        _header(parsed),
        problems(parsed.of_kind("format"), _warnings(parsed)),
        section(
            "Results",
            tables.figures_table(rows, beside=beside_dense(parsed)),
            element("p", RULE, class_="muted"),
            element(
                "details",
                element("summary", "What the columns are"),
                element("p", *with_code(EXPLANATION), class_="muted"),
            ),
        ),
        section(
            "Size, latency and accuracy", charts(rows, [0] * len(rows), [row.name for row in rows]), _about(parsed)
        ),
        section("All metrics", tables.metrics_table(rows)),
        section("Outputs", outputs_table(rows)),
        section("Weights", strips([row for row in rows if row.kind != "baseline"]), _weights(rows)),
        section("Channels", channels_table(channels) if channels else None),
        section("Sensitivity", sensitivity_table(parsed.sensitivity) if parsed.sensitivity else None),
        section("Where files disagree with the model", gallery(parsed, pictures or {})),
        section("What the bytes are", tables.ledger_table(rows)),
        section("What formats tell of themselves", _notes(rows)),
        section("How it was made", made_section(parsed.made)),
    ]
    return document(f"Export of {parsed.model}", STYLE, *(joined(one, Markup("\n")) for one in sections if one))


def problems(formats: Sequence[Row], warnings: Sequence[str]) -> Markup:
    """What failed and what is to be known, in boxes that nobody overlooks; empty if all is well."""
    failed = [element("li", element("b", row.name), f": {row.error}") for row in formats if row.error]
    warned = [element("li", warning) for warning in warnings]
    warned += [element("li", element("b", row.name), f": {warning}") for row in formats for warning in row.warnings]
    boxes = []
    for items, heading, css in (
        (failed, f"Failed: {len(failed)} of {len(formats)} formats", "problems"),
        (warned, "Warnings", "problems warnings"),
    ):
        if items:
            boxes.append(element("section", element("h2", heading), element("ul", *items), class_=css))
    return joined(*boxes)


def _warnings(report: Report) -> list[str]:
    noise = "no data was passed, so the files were run on one example of noise: figures of agreement say little"
    earlier = f"of an earlier export, and still in the folder: {', '.join(report.earlier_files)}"
    return [
        *report.warnings,
        *([noise] if report.data == "noise" else []),
        *([earlier] if report.earlier_files else []),
    ]


def _header(report: Report) -> Markup:
    size = f", {report.parameters:,} parameters" if report.parameters is not None else ""
    told = f"{size}. Every file was run on {report.examples:,} examples ({report.data})."
    best, made = best_words(report), made_words(report.made)
    return element(
        "header",
        element("h1", "Export report"),
        element("p", best, class_="headline") if best else None,
        element("p", "Model ", element("b", report.model), told),
        element("p", made, class_="muted") if made else None,
    )


def _about(report: Report) -> Markup | None:
    return element("p", *with_code(report.about_latency), class_="muted") if report.about_latency else None


def _weights(rows: Sequence[Row]) -> Markup | None:
    tables_of = [joined(element("h3", row.name), tables.weights_table(row)) for row in rows if row.weights]
    return element("details", element("summary", "Every weight in numbers"), *tables_of) if tables_of else None


def _notes(rows: Sequence[Row]) -> Markup | None:
    items = [
        element("li", element("b", row.name), f": {'; '.join(f'{key}: {note}' for key, note in row.notes.items())}")
        for row in rows
        if row.notes
    ]
    return element("ul", *items) if items else None
