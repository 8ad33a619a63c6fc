"""Scatter plots as SVG: files by what they cost and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segopt_callbacks.markup import Markup, element, joined
from segopt_callbacks.pages.labels import FONT_SIZE, Box, free_places, leader, width
from segopt_callbacks.pages.scales import Scale, decimals, scale
from segopt_callbacks.pages.shapes import SIZE, shape

_MOST_LABELS = 60  # beyond that, names are shown on hover only
_TOP, _RIGHT, _BOTTOM = 30, 14, 44  # margins: title of y, half a tick's text, ticks and title of x
_LARGEST = 1e100  # what is larger is in no plot


@dataclass(frozen=True)
class Place:
    """Where one mark stands along x, with the interval around it where it is known."""

    x: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Mark:
    """One file: filled at its first place, hollow at the others, joined by a line.

    Attributes:
        label: short.
        title: shown on hover.
        y: its height, the same at all places.
        places: one or more.
        group: number of its colour and shape.
        href: the page that a click opens, if there is one.
    """

    label: str
    title: str
    y: float
    places: tuple[Place, ...]
    group: int = 0
    href: str | None = None


@dataclass(frozen=True)
class Axis:
    """What an axis says.

    Attributes:
        title: with the unit.
        text: value -> text of a tick; `None` for as many decimals as tell ticks apart.
        may_be_log: whether it is logarithmic where values span a large factor.
        least: see `scale`.
    """

    title: str
    text: Callable[[float], str] | None = None
    may_be_log: bool = False
    least: float = 0.0


@dataclass(frozen=True)
class Plot:
    """A drawn plot.

    Attributes:
        svg: the picture.
        keys: number in the picture -> label that had no room there.
    """

    svg: Markup
    keys: tuple[tuple[str, str], ...]


def bytes_text(value: float) -> str:
    """Bytes in the largest unit that keeps them at 1 or more; 1 kB is 1,000 bytes.

    >>> bytes_text(500_000), bytes_text(2e6), bytes_text(12)
    ('500 kB', '2 MB', '12 B')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{value / unit:.4g} {name}"
    return f"{value:.4g} B"


def scatter(
    marks: Sequence[Mark], references: Sequence[tuple[str, float]], x: Axis, y: Axis, *, across: int, down: int
) -> Plot | None:
    """Draws a plot.

    Args:
        marks: the files.
        references: label and height of horizontal lines, for what has no x.
        x: the axis from left to right.
        y: the axis from bottom to top.
        across: width in pixels.
        down: height in pixels.

    Returns:
        the plot, `None` where there is nothing to draw.
    """
    marks = [mark for mark in marks if _is_drawable(mark)]
    references = [one for one in references if abs(one[1]) < _LARGEST]
    if not marks:
        return None
    heights = [mark.y for mark in marks] + [height for _, height in references]
    # Room for a label above the highest mark and below the lowest.
    y_scale = scale(heights, down - _BOTTOM, _TOP, may_be_log=y.may_be_log, least=y.least, padding=0.16)
    y_ticks = _texts(y_scale.ticks(max((down - _TOP - _BOTTOM) // 40, 2)), y)
    left = 8 + max(width(text) for _, text in y_ticks)
    spots = [spot for mark in marks for place in mark.places for spot in (place.x, place.low, place.high)]
    x_scale = scale(
        [spot for spot in spots if spot is not None], left, across - _RIGHT, may_be_log=x.may_be_log, least=x.least
    )
    x_ticks = _texts(x_scale.ticks(max(int((across - left) // 70), 2)), x)
    drawn = [
        _grid(x_scale, x_ticks, y_scale, y_ticks),
        *(element("path", class_="reference", d=_line(left, y_scale(at), across - _RIGHT)) for _, at in references),
        *(_mark(mark, x_scale, y_scale) for mark in marks),
    ]
    labels, keys = _labels(marks, references, x_scale, y_scale)
    titles = [
        element("text", y.title, x=0, y=14, class_="axis"),
        element("text", x.title, x=_round((left + across) / 2), y=down - 6, class_="axis", text_anchor="middle"),
    ]
    name = f"{y.title} against {x.title}: {', '.join(mark.label for mark in marks[:_MOST_LABELS])}"
    svg = element(
        "svg",
        *drawn,
        *labels,
        *titles,
        viewBox=f"0 0 {across} {down}",
        width=across,
        height=down,
        role="img",
        aria_label=name,
    )
    return Plot(svg, keys)


def _is_drawable(mark: Mark) -> bool:
    spots = [spot for place in mark.places for spot in (place.x, place.low, place.high) if spot is not None]
    return bool(spots) and all(0 < spot < _LARGEST for spot in spots) and abs(mark.y) < _LARGEST


def _texts(ticks: list[float], axis: Axis) -> list[tuple[float, str]]:
    digits = decimals(ticks)
    plain = max(map(abs, ticks), default=0) < 1e7 and digits <= 8
    texts = [axis.text(tick) if axis.text else f"{tick:.{digits}f}" if plain else f"{tick:.3g}" for tick in ticks]
    return list(zip(ticks, texts, strict=True))


def _grid(x: Scale, x_ticks: list[tuple[float, str]], y: Scale, y_ticks: list[tuple[float, str]]) -> Markup:
    parts = []
    for tick, text in y_ticks:
        parts.append(element("path", class_="grid", d=_line(x.start, y(tick), x.end)))
        parts.append(element("text", text, x=_round(x.start - 6), y=_round(y(tick) + 4), text_anchor="end"))
    for tick, text in x_ticks:
        at = _round(x(tick))
        parts.append(element("path", class_="grid", d=f"M{at} {y.start}V{y.end}"))
        # The text of a tick near the border stays inside.
        half = width(text) / 2
        middle = min(max(x(tick), half), x.end + _RIGHT - half)
        parts.append(element("text", text, x=_round(middle), y=y.start + 17, text_anchor="middle"))
    parts.append(element("path", class_="frame", d=f"M{_round(x.start)} {y.end}V{y.start}H{x.end}"))
    return element("g", *parts, class_="ticks")


def _mark(mark: Mark, x: Scale, y: Scale) -> Markup:
    height = y(mark.y)
    parts = [element("title", mark.title)]
    if len(mark.places) > 1:
        ends = [x(place.x) for place in mark.places]
        parts.append(element("path", class_="joint", d=_line(min(ends), height, max(ends))))
    for place in mark.places:
        if place.low is not None and place.high is not None:
            ends = [x(place.low), x(place.high)]
            parts.append(element("path", class_="range", d=_line(ends[0], height, ends[1])))
            parts += [element("path", class_="range", d=f"M{_round(end)} {_round(height - 4)}v8") for end in ends]
    for number, place in reversed(list(enumerate(mark.places))):
        parts.append(shape(mark.group, x(place.x), height, is_hollow=number > 0))
    drawn = element("g", *parts, class_="mark")
    return element("a", drawn, href=mark.href) if mark.href else drawn


def _labels(
    marks: Sequence[Mark], references: Sequence[tuple[str, float]], x: Scale, y: Scale
) -> tuple[list[Markup], tuple[tuple[str, str], ...]]:
    frame = Box(x.start, min(y.end, y.start) - 6, x.end + _RIGHT, max(y.end, y.start) - 3)
    taken = [_around(x(place.x), y(mark.y)) for mark in marks for place in mark.places]
    lines = [Box(x.start, y(at) - 1, x.end, y(at) + 1) for _, at in references]
    for mark in marks:
        spots = [x(spot) for place in mark.places for spot in (place.x, place.low, place.high) if spot is not None]
        lines.append(Box(min(spots), y(mark.y) - 2, max(spots), y(mark.y) + 2))
    # Lines have few places for their label, marks have many.
    wanted = [(x.end - width(label) / 2, y(at), label) for label, at in references]
    names = [(x(mark.places[0].x), y(mark.y), mark.label) for mark in marks[:_MOST_LABELS]]
    parts = [
        _label(box, label, "reference")
        for box, (_, _, label) in zip(free_places(wanted, frame, taken, lines), wanted, strict=True)
        if box is not None
    ]
    keys: list[tuple[str, str]] = []
    for box, anchor in zip(free_places(names, frame, taken, lines), names, strict=True):
        label = anchor[2]
        if box is None:
            key = str(len(keys) + 1)
            keys.append((key, label))
            (box,) = free_places([(anchor[0], anchor[1], key)], frame, taken, lines)
            label = key
        if box is not None:
            parts.append(joined(_leader(anchor, box), _label(box, label, "label")))
    return parts, tuple(keys)


def _around(x: float, y: float) -> Box:
    size = SIZE + 2
    return Box(x - size, y - size, x + size, y + size)


def _label(box: Box, text: str, kind: str) -> Markup:
    middle, base = (box.left + box.right) / 2, box.bottom - 0.3 * FONT_SIZE
    return element("text", text, x=_round(middle), y=_round(base), class_=kind, text_anchor="middle")


def _leader(anchor: tuple[float, float, str], box: Box) -> Markup | None:
    """A line from a mark to its label, where they are far apart."""
    x, y = anchor[:2]
    if not leader(x, y, box):
        return None
    to_x, to_y = box.nearest(x, y)
    return element("path", class_="leader", d=f"M{_round(x)} {_round(y)}L{_round(to_x)} {_round(to_y)}")


def _line(left: float, y: float, right: float) -> str:
    return f"M{_round(left)} {_round(y)}H{_round(right)}"


def _round(value: float) -> str:
    return f"{value:.1f}"
