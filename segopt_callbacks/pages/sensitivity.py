"""How sensitive each weight is: read from a report, and as a table: what a metric loses, as a number and as a bar."""

from __future__ import annotations

from typing import Any

from segopt_callbacks.pages import values
from segopt_callbacks.pages.entries import Changes, Measured
from segopt_callbacks.pages.markup import Markup, element, joined, with_code
from segopt_callbacks.pages.tables import breakable, head, scrolling
from segopt_callbacks.records import about, change_text, decimals
from segopt_callbacks.sizes import CorruptFileError


def parse_sensitivity(value: Any) -> Measured | None:
    """Checks `sensitivity` of a report; `None` where it was not measured.

    Raises:
        CorruptFileError: naming what is not as it should be.
    """
    entry = values.mapping(value, "`sensitivity`")
    if not entry:
        return None
    treatments = values.texts(entry.get("treatments"), "`treatments`")
    weights = values.sequence(entry.get("weights"), "`sensitivity`")
    return Measured(
        monitor=values.text(entry.get("monitor")),
        higher_is_better=entry.get("higher_is_better") is True,
        untreated=float(values.number(entry.get("untreated"), "`untreated`")),
        examples=values.count(entry.get("examples"), "`examples`") or 0,
        treatments=treatments,
        weights=tuple(_changes(one, len(treatments)) for one in weights),
    )


def sensitivity_table(measured: Measured) -> Markup:
    """One line for each weight, one column for each treatment.

    A bar is as long as what the metric loses, over all the table; what it gains has none, and where it has no value any
    more, the bar is the longest.

    Args:
        measured: of one report.

    Returns:
        what it shows in words, and the table.
    """
    digits = decimals(measured.untreated)
    told = about(measured.monitor, measured.untreated, measured.higher_is_better, measured.examples)
    words = f"{told}. Bars are losses; where they are long, spare the weight by `filters`."
    largest = max(
        (_loss(one, measured) for row in measured.weights for one in row.changes if one is not None), default=0
    )
    body = [_row(row, measured, largest, digits) for row in measured.weights]
    return joined(element("p", *with_code(words)), scrolling(head("", "weights", *measured.treatments), body))


def _row(row: Changes, measured: Measured, largest: float, digits: int) -> Markup:
    cells = []
    for change in row.changes:
        loss = largest if change is None else _loss(change, measured)
        share = max(0.0, loss) / largest if largest > 0 else 0.0
        bar = element("i", style=f"width:{100 * share:.1f}%")
        cells.append(element("td", change_text(change, digits), element("span", bar, class_="bar")))
    name = element("th", element("span", breakable(row.weight), class_="name"), scope="row")
    return element("tr", name, element("td", f"{row.elements:,}"), *cells)


def _loss(change: float, measured: Measured) -> float:
    return -change if measured.higher_is_better else change


def _changes(value: Any, number: int) -> Changes:
    entry = values.mapping(value, "a weight")
    changes = tuple(values.mapping(entry.get("change"), "`change`").values())
    if len(changes) != number:
        raise CorruptFileError("`change` must have a value for each of `treatments`")
    return Changes(
        weight=values.text(entry.get("weight")),
        elements=values.count(entry.get("elements"), "`elements`") or 0,
        changes=tuple(None if one is None else float(values.number(one, "`change`")) for one in changes),
    )
