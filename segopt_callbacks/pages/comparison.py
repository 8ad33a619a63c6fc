"""Several runs on one page: one table over all their files, and plots with a colour for each run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from segopt_callbacks.markup import Markup, element, joined
from segopt_callbacks.pages import tables
from segopt_callbacks.pages.beside import Base, beside_run
from segopt_callbacks.pages.charts import charts
from segopt_callbacks.pages.comparable import not_comparable
from segopt_callbacks.pages.document import document, section
from segopt_callbacks.pages.entries import Report, Row
from segopt_callbacks.pages.made import made_words
from segopt_callbacks.pages.page import problems
from segopt_callbacks.pages.shapes import symbol
from segopt_callbacks.pages.style import STYLE


@dataclass(frozen=True)
class Run:
    """One export.

    Attributes:
        name: by which it differs from the others.
        folder: where its report is.
        report: what the report says.
    """

    name: str
    folder: Path
    report: Report


def short_names(folders: Sequence[Path]) -> list[str]:
    """What tells folders apart: their paths less what all of them begin and end with.

    >>> short_names([Path("runs/a/export"), Path("runs/b/export")])
    ['a', 'b']
    """
    parts = [folder.parts for folder in folders]
    shortest = min(map(len, parts))
    first = next((number for number in range(shortest) if len({one[number] for one in parts}) > 1), shortest)
    left = shortest - first
    last = next((number for number in range(left) if len({one[-1 - number] for one in parts}) > 1), left)
    names = [str(Path(*one[first : len(one) - last])) if len(one) - last > first else "" for one in parts]
    return [name or str(folder) for name, folder in zip(names, folders, strict=True)]


def comparison(runs: Sequence[Run], failures: Sequence[str], output: Path) -> Markup:
    """The page of several runs.

    Args:
        runs: one or more.
        failures: what could not be read, a line each.
        output: where the page will be, for links to the runs' own pages.
    """
    rows = [(number, run, row) for number, run in enumerate(runs) for row in run.report.rows]
    names = [f"{run.name}: {row.name}" for _, run, row in rows]
    plain = [row for _, _, row in rows]
    # A line for each model in memory would say what the marks of its float32 files do.
    marked = [(row, number, name) for (number, _, row), name in zip(rows, names, strict=True) if row.kind != "model"]
    drawn = charts(*zip(*marked, strict=True)) if marked else None
    unread = element("ul", *(element("li", failure) for failure in failures)) if failures else None
    first = "run: row"
    sections = [
        element("h1", "Comparison of runs"),
        element("div", section("Not read", unread), class_="problems") if unread else None,
        problems([_named(run, row) for _, run, row in rows if row.kind == "format"], _warnings(runs)),
        section("Runs", _legend(runs, output)),
        section("Size, latency and accuracy", drawn),
        section("Results", tables.figures_table(plain, names, first=first, beside=_beside_first(runs)), _told(runs)),
        section("All metrics", tables.metrics_table(plain, names, first=first)),
    ]
    return document("Comparison of runs", STYLE, *(joined(one, Markup("\n")) for one in sections if one))


def entries(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The same for programs: one flat object for each row of the table."""
    return [
        {
            "run": str(run.folder),
            "name": row.name,
            "kind": row.kind,
            "error": row.error or None,
            "metrics": dict(row.metrics),
            **row.figures,
            "latency_ms": {
                key: {"median": time.median, "low": time.low, "high": time.high} for key, time in row.latency.items()
            },
        }
        for run in runs
        for row in run.report.rows
    ]


def _named(run: Run, row: Row) -> Row:
    return Row(f"{run.name}: {row.name}", row.kind, error=row.error, warnings=row.warnings)


def _warnings(runs: Sequence[Run]) -> list[str]:
    told = [f"{run.name}: {warning}" for run in runs for warning in run.report.warnings]
    return [*not_comparable([run.name for run in runs], [run.report for run in runs]), *told]


def _told(runs: Sequence[Run]) -> Markup | None:
    if len(runs) < 2:
        return None
    told = (
        f"Below a figure: the difference from the row of the same name of {runs[0].name}, or how many times it is that."
    )
    return element("p", told, class_="muted")


def _beside_first(runs: Sequence[Run]) -> list[Base | None]:
    """For each row, that of the first run; its own rows stand beside nothing."""
    first, *others = runs
    alone: list[Base | None] = [None] * len(first.report.rows)
    return alone + [one for run in others for one in beside_run(run.report.rows, first.report.rows)]


def _legend(runs: Sequence[Run], output: Path) -> Markup:
    lines = []
    for number, run in enumerate(runs):
        page = run.folder / "report.html"
        # "./" first, so that no name is taken for the name of a protocol.
        address = "./" + quote(os.fsencode(os.path.relpath(page, output.parent)), safe="/") if page.is_file() else None
        name: Markup | str = element("a", run.name, href=address) if address else run.name
        made = made_words(run.report.made)
        model = f" {run.report.model}, {run.report.examples:,} examples ({run.report.data}){made and f'; {made}'}"
        lines.append(element("span", symbol(number), name, element("span", model, class_="muted"), class_="swatch"))
    return element("p", *lines, class_="legend runs")
