"""Rows -> the plots of a page: size against accuracy, latency against accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segopt_callbacks.markup import Markup, element, joined
from segopt_callbacks.pages.entries import Row
from segopt_callbacks.pages.figures import LATENCIES
from segopt_callbacks.pages.plots import Axis, Mark, Place, Plot, bytes_text, scatter

EQUAL_ARGMAX = "equal argmax"
_LEAST = 0.02  # of the largest value: the smallest span of the upright axis
_HEIGHT = 340  # of every plot, in pixels
_ALONE, _SIDE_BY_SIDE, _NARROW = 860, 500, 340  # widths: of one plot, of each of two, of each on a phone


def headline(rows: Sequence[Row]) -> str:
    """The measure that plots show: the metric that most rows have, the first of several; else the equal argmax.

    >>> headline([Row("int8", "format", metrics={"miou": 0.7, "water": 0.8})])
    'miou'
    """
    counts = Counter(name for row in rows for name in row.metrics)
    return max(counts, key=counts.__getitem__, default=EQUAL_ARGMAX)


def charts(rows: Sequence[Row], groups: Sequence[int], names: Sequence[str]) -> Markup | None:
    """The plots of some rows.

    Args:
        rows: of those without a size or latency, baselines and the model become lines; equal ones become one.
        groups: number of each row's colour.
        names: what each is called on hover and at its line; labels of marks are the rows' own names.

    Returns:
        figures, `None` if nothing can be drawn.
    """
    measure = headline(rows)
    entries = list(zip(rows, groups, names, strict=True))
    costs = [cost for cost in (_SIZE, _LATENCY) if any(cost.places(row) for row in rows)]
    wide = _ALONE if len(costs) == 1 else _SIDE_BY_SIDE
    figures = [_figure(entries, measure, cost, wide) for cost in costs]
    return element("div", *figures, class_="plots") if any(figures) else None


def _sizes(row: Row) -> tuple[Place, ...]:
    sizes = [row.figures.get(key) for key in ("bytes", "gzip_bytes")]
    return tuple(Place(size) for size in sizes if size)


def _times(row: Row) -> tuple[Place, ...]:
    times = [row.latency[key] for key, _ in LATENCIES if key in row.latency]
    return tuple(Place(time.median, time.low, time.high) for time in times)


@dataclass(frozen=True)
class _Cost:
    """What the axis from left to right is about."""

    places: Callable[[Row], tuple[Place, ...]]
    axis: Axis
    unit: str
    caption: str


_SIZE = _Cost(
    _sizes,
    Axis("bytes of the file", bytes_text, may_be_log=True),
    "{:,.0f} bytes",
    "Filled: bytes of the file. Hollow: the same through gzip -9.",
)
_LATENCY = _Cost(
    _times,
    Axis("milliseconds of one inference", "{:.3g}".format, may_be_log=True),
    "{:.3g} ms",
    "Filled: one thread. Hollow: all threads. Bars: from the low to the high end of what was measured.",
)


def _figure(rows: Sequence[tuple[Row, int, str]], measure: str, cost: _Cost, wide: int) -> Markup | None:
    marks: list[Mark] = []
    lines: dict[tuple[str, float], str] = {}
    for row, group, name in rows:
        value = row.figures.get("equal_argmax") if measure == EQUAL_ARGMAX else row.metrics.get(measure)
        if value is None or row.error:
            continue
        places = cost.places(row)
        if places:
            told = ", ".join(cost.unit.format(place.x) for place in places)
            marks.append(Mark(row.name, f"{name}: {measure} {value:.4f}, {told}", value, places, group))
        elif row.kind != "format":
            lines.setdefault((row.name, value), name)
    values = Counter(name for name, _ in lines)
    references = [(key[0] if values[key[0]] == 1 else name, key[1]) for key, name in lines.items()]
    upright = Axis(measure, least=_LEAST)
    plots = [
        (scatter(marks, references, cost.axis, upright, across=across, down=_HEIGHT), css)
        for across, css in ((wide, "wide"), (_NARROW, "narrow"))
    ]
    figures = [_drawn(plot, css, cost.caption) for plot, css in plots if plot is not None]
    return joined(*figures) if figures else None


def _drawn(plot: Plot, css: str, caption: str) -> Markup:
    keys = "; ".join(f"{key}: {label}" for key, label in plot.keys)
    return element("figure", plot.svg, element("figcaption", caption, f" {keys}." if keys else None), class_=css)
