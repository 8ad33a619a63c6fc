"""The page of a search: its Pareto front, and every trial, each with a link to its own report."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from segopt_callbacks.markup import Markup, element, head, joined, scrolling
from segopt_callbacks.pages.document import document, section
from segopt_callbacks.pages.figures import cell
from segopt_callbacks.pages.plots import Axis, Mark, Place, bytes_text, scatter
from segopt_callbacks.pages.shapes import symbol
from segopt_callbacks.pages.study import Told, Trial, front
from segopt_callbacks.pages.style import STYLE

_FRONT, _REST, _SECOND, _DENSE = 0, 5, 1, 2  # groups of marks
_NAMES = {
    _FRONT: "on the Pareto front",
    _REST: "no better than another in bytes and metric",
    _SECOND: "the same settings on the second seed",
    _DENSE: "dense float32",
}
_WIDE, _NARROW, _HEIGHT = 860, 340, 420  # pixels
_LEAST = 0.02  # of the largest value: the smallest span of the upright axis


def study_page(told: Told, folder: Path, output: Path) -> Markup:
    """The page of a search.

    Args:
        told: of the search.
        folder: of the search, which holds the trials' reports.
        output: where the page will be, for links to those.
    """
    links = {one.number: link for one in told.trials if (link := _link(folder / one.report, output))}
    best = front(told.trials, higher_is_better=told.higher_is_better)
    groups = {one.number: _group(one, best) for one in told.trials}
    sections = [
        element("h1", "Search"),
        element("p", told.answer or "The search has not ended."),
        section("Size and accuracy", _plots(told, groups, links)),
        section("Trials", _table(told, links, best)),
    ]
    return document("Search", STYLE, *(joined(one, Markup("\n")) for one in sections if one))


def _link(page: Path, output: Path) -> str | None:
    # "./" first, so that no name is taken for the name of a protocol.
    return "./" + quote(os.fsencode(os.path.relpath(page, output.parent)), safe="/") if page.is_file() else None


def _group(trial: Trial, best: set[int]) -> int:
    if trial.kind != "search":
        return _SECOND if trial.kind == "confirm" else _DENSE
    return _FRONT if trial.number in best else _REST


def _plots(told: Told, groups: dict[int, int], links: dict[int, str]) -> Markup | None:
    marks = []
    for one in told.trials:
        if one.bytes is not None and one.metric is not None:
            label = str(one.number if one.confirms is None else f"{one.confirms}, second seed")
            title = f"trial {one.number}: {one.bytes:,} bytes, {told.monitor} {one.metric:.4f}; {one.told}"
            place = (Place(one.bytes),)
            marks.append(Mark(label, title, one.metric, place, groups[one.number], links.get(one.number)))
    bound = told.demand.get("min_metric")
    lines = [] if bound is None else [(f"min_metric {bound:g}", bound)]
    across, upright = Axis("bytes after gzip -9", bytes_text, may_be_log=True), Axis(told.monitor, least=_LEAST)
    figures = []
    for width, css in ((_WIDE, "wide"), (_NARROW, "narrow")):
        plot = scatter(marks, lines, across, upright, across=width, down=_HEIGHT)
        if plot is not None:
            keys = "".join(f" {key}: {label};" for key, label in plot.keys).rstrip(";")
            caption = element("figcaption", "Each mark is a trial's file; click it for its report.", keys or None)
            figures.append(element("figure", plot.svg, caption, class_=css))
    shown = [group for group in _NAMES if group in groups.values()]
    legend = [element("span", symbol(group), _NAMES[group], class_="swatch") for group in shown]
    return joined(element("p", *legend, class_="legend"), element("div", *figures, class_="plots")) if figures else None


def _table(told: Told, links: dict[int, str], best: set[int]) -> Markup:
    rows = []
    for one in told.trials:
        name: Markup | str = f"trial {one.number}"
        link = links.get(one.number)
        shown = element("span", element("a", name, href=link) if link else name, class_="name")
        outcome = _outcome(one, best)
        cells = [
            element("td", cell(one.bytes, "{:,}")),
            element("td", cell(one.metric, "{:.4f}")),
            element("td", cell(one.latency_ms, "{:.3g}")),
            element("td", str(one.seed)),
            element("td", outcome, class_="words"),
            element("td", one.told, class_="words"),
        ]
        rows.append(element("tr", element("th", shown, scope="row"), *cells))
    words = "outcome", "settings"
    return scrolling(head("", "gzip bytes", told.monitor, "ms, 1 thread", "seed", *words, words=words), rows)


def _outcome(trial: Trial, best: set[int]) -> str:
    if trial.bytes is None:
        return f"{trial.state}: {trial.why}" if trial.why else trial.state
    if trial.kind == "reference":
        return "dense"
    if trial.kind == "confirm":
        return f"trial {trial.confirms} on the second seed"
    told = ["meets the demand on both seeds" if trial.confirmed else "meets the demand"] if trial.meets else []
    return ", ".join([*told, *(["on the front"] if trial.number in best else [])])
