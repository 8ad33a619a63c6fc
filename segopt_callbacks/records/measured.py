"""How sensitive each weight is, as a table: what a metric loses, as a number and as a bar."""

from __future__ import annotations

import math
from dataclasses import dataclass

from segopt_callbacks.markup import Markup, breakable, element, head, joined, scrolling, with_code

_LEAST_DECIMALS = 4


@dataclass(frozen=True)
class Changes:
    """What becomes of the monitored metric where one weight is treated: a change for each treatment, `None` for NaN."""

    weight: str
    elements: int
    changes: tuple[float | None, ...]


@dataclass(frozen=True)
class Measured:
    """How sensitive each weight is.

    Attributes:
        monitor: name of the metric.
        higher_is_better: whether more of it is better.
        untreated: its value for the model as it is.
        examples: on which it was measured.
        treatments: their names, with their setting.
        weights: in the model's order.
    """

    monitor: str
    higher_is_better: bool
    untreated: float
    examples: int
    treatments: tuple[str, ...]
    weights: tuple[Changes, ...]


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


def about(monitor: str, untreated: float, higher_is_better: bool, examples: int) -> str:
    """What a table of changes shows.

    >>> about("mIoU", 0.75, True, 42)
    'Change of mIoU with one weight treated (0.7500 with none; higher is better; 42 examples)'
    """
    better = "higher" if higher_is_better else "lower"
    figures = f"{untreated:.{decimals(untreated)}f} with none; {better} is better; {examples:,} examples"
    return f"Change of {monitor} with one weight treated ({figures})"


def change_text(change: float | None, digits: int) -> str:
    """A change as text, with its sign.

    >>> change_text(-0.01234, 4), change_text(-0.00001, 4), change_text(None, 4)
    ('-0.0123', '+0.0000', 'no value')
    """
    return "no value" if change is None else f"{round(change, digits) + 0.0:+.{digits}f}"


def decimals(value: float) -> int:
    """How many decimals show changes of a metric of this size.

    >>> decimals(0.7617), decimals(0.000025)
    (4, 8)
    """
    return _LEAST_DECIMALS if value == 0 else min(max(_LEAST_DECIMALS, 3 - math.floor(math.log10(abs(value)))), 12)
