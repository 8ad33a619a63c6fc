"""`report.html`: one export on one page that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from segopt_callbacks.pages import reading, tables
from segopt_callbacks.pages.charts import charts
from segopt_callbacks.pages.entries import Report, Row
from segopt_callbacks.pages.figures import EXPLANATION
from segopt_callbacks.pages.markup import Markup, document, element, joined, section
from segopt_callbacks.pages.palette import class_colours
from segopt_callbacks.pages.strips import strips
from segopt_callbacks.pages.style import STYLE

_PNG = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+=*")
_MOST_SWATCHES = 64


def page(report: Mapping[str, Any], pictures: Mapping[str, str] | None = None) -> str:
    """The page of one report.

    Args:
        report: as `export_model` returns it.
        pictures: of disagreement, as `pictures.drawn` makes them: `input/EXAMPLE`, `model/EXAMPLE`, `file/FORMAT` and
            `difference/FORMAT` -> a PNG as `data:` address.

    Raises:
        CorruptFileError: if the report is not as it should be.
    """
    parsed = reading.parse(report)
    shown = {key: Markup(uri) for key, uri in (pictures or {}).items() if _PNG.fullmatch(uri)}
    rows = [*parsed.of_kind("baseline"), *parsed.of_kind("model"), *parsed.of_kind("format")]
    sections = [
        _header(parsed),
        problems(parsed.of_kind("format"), _warnings(parsed)),
        section("Results", tables.figures_table(rows), element("p", *_code(EXPLANATION), class_="muted")),
        section("Size, latency and accuracy", charts(rows, [0] * len(rows), [row.name for row in rows])),
        section("All metrics", tables.metrics_table(rows)),
        section("Weights", strips([row for row in rows if row.kind != "baseline"]), _weights(rows)),
        section("Where files disagree with the model", _disagreements(parsed, shown)),
        section("What the bytes are", tables.ledger_table(rows)),
        section("What formats tell of themselves", _notes(rows)),
    ]
    return document(f"Export of {parsed.model}", STYLE, *(joined(one, Markup("\n")) for one in sections if one))


def kept_pictures(path: Path) -> dict[str, str]:
    """The pictures of a page that was written before; none where there is no such page."""
    if not path.exists():
        return {}
    finder = _Pictures()
    finder.feed(path.read_text(encoding="utf-8", errors="replace"))
    return finder.found


class _Pictures(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        key, uri = given.get("data-picture"), given.get("src")
        if tag == "img" and key and uri:
            self.found[key] = uri


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
    return [*report.warnings, *([noise] if report.data == "noise" else [])]


def _header(report: Report) -> Markup:
    size = f", {report.parameters:,} parameters" if report.parameters is not None else ""
    told = f"{size}. Every file was run on {report.examples:,} examples ({report.data})."
    return element("header", element("h1", "Export report"), element("p", "Model ", element("b", report.model), told))


def _code(paragraph: str) -> list[Markup | str]:
    # Odd parts stand between backquotes.
    return [element("code", part) if number % 2 else part for number, part in enumerate(paragraph.split("`"))]


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


def _disagreements(report: Report, pictures: Mapping[str, Markup]) -> Markup | None:
    shown = [row for row in report.of_kind("format") if row.worst and f"file/{row.name}" in pictures]
    parts: list[Markup] = []
    for example in dict.fromkeys(row.worst.example for row in shown if row.worst):
        group = [row for row in shown if row.worst and row.worst.example == example]
        figures = [_picture(pictures, f"input/{example}", "input"), _picture(pictures, f"model/{example}", "model")]
        for row in group:
            share = 1 - row.worst.equal_argmax if row.worst else 0.0
            figures.append(_picture(pictures, f"file/{row.name}", row.name))
            figures.append(
                _picture(pictures, f"difference/{row.name}", f"{row.name}: {share:.4f} of the pixels differ")
            )
        title = f"Example {example}, counted from 0: the worst for {', '.join(row.name for row in group)}"
        parts.append(element("h3", title))
        parts.append(element("div", *(figure for figure in figures if figure), class_="pictures"))
    if not parts:
        return None
    equal = [row.name for row in report.of_kind("format") if row.figures.get("equal_argmax") == 1]
    told = f"No class differs anywhere in {', '.join(equal)}. " if equal else ""
    intro = f"{told}Of each other file: the example on which most pixels differ; red where they do."
    return joined(element("p", intro), _legend(report, shown), *parts)


def _picture(pictures: Mapping[str, Markup], key: str, caption: str) -> Markup | None:
    if key not in pictures:
        return None
    image = element("img", src=pictures[key], alt=caption, data_picture=key)
    return element("figure", image, element("figcaption", caption))


def _legend(report: Report, rows: Sequence[Row]) -> Markup:
    count = min(max(row.worst.classes for row in rows if row.worst), _MOST_SWATCHES)
    colours = class_colours(count, report.palette)
    names = [*report.classes, *(f"class {number}" for number in range(len(report.classes), count))]
    swatches = [
        element("span", element("span", class_="colour", style=f"background:rgb{colour}"), name, class_="swatch")
        for colour, name in zip(colours, names, strict=False)
    ]
    return element("p", *swatches, class_="legend")
