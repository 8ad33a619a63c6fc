"""Labels beside the marks of a plot, none over another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FONT_SIZE = 12  # of labels
_WIDTH = 0.6  # of a letter, in font sizes; more than that of most, so that estimates err on the safe side
_WIDE = 1.05  # of a letter beyond Latin, Greek and Cyrillic
_RADII = (8, 14, 22, 34, 50, 70, 95)  # from the mark to its label
_DIRECTIONS = (0, 180, 270, 90, 315, 225, 45, 135)  # degrees: right, left, above, below, and between them
_CROSSING = 40  # what it costs to lie over a line, or have one over another label, in the unit of `_RADII`
_GAP = 6  # between two labels in a row
_CLOSE = 14  # from there on a line leads from a mark to its label


@dataclass(frozen=True)
class Box:
    """A rectangle; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        """Whether the other lies inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The point of the box that is nearest to another."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)


def width(text: str, size: float = FONT_SIZE) -> float:
    """What a text takes at the most, in the unit of the font size.

    >>> width("int8") == 4 * 0.6 * 12
    True
    """
    return size * sum(_WIDTH if ord(letter) < 0x530 else _WIDE for letter in text)


def free_places(
    anchors: Sequence[tuple[float, float, str]], frame: Box, taken: list[Box], lines: Sequence[Box]
) -> list[Box | None]:
    """A place for the label of each mark.

    Args:
        anchors: x, y and text of each; earlier ones choose first.
        frame: labels stay inside.
        taken: what no label may cover; places that were found are added.
        lines: what a label had better not cover.

    Returns:
        a `Box` for each, `None` where there is no room.
    """
    found: list[Box | None] = []
    lines, labels = list(lines), list[Box]()
    for x, y, text in anchors:
        best, least = None, math.inf
        for radius, box in _candidates(x, y, width(text) + _GAP, FONT_SIZE * 1.2):
            if radius >= least or not frame.holds(box) or any(box.overlaps(other) for other in taken):
                continue
            crossed = any(box.overlaps(line) for line in lines) or any(
                label.overlaps(point) for point in leader(x, y, box) for label in labels
            )
            cost = radius + (_CROSSING if crossed else 0)
            if cost < least:
                best, least = box, cost
        if best is not None:
            taken.append(best)
            labels.append(best)
            lines += leader(x, y, best)
        found.append(best)
    return found


def leader(x: float, y: float, box: Box) -> list[Box]:
    """The line from a mark to its label as small boxes; none where they are close together."""
    to_x, to_y = box.nearest(x, y)
    length = math.hypot(to_x - x, to_y - y)
    if length < _CLOSE:
        return []
    steps = math.ceil(length / 4)
    points = ((x + (to_x - x) * step / steps, y + (to_y - y) * step / steps) for step in range(1, steps))
    return [Box(one - 1, two - 1, one + 1, two + 1) for one, two in points]


def _candidates(x: float, y: float, across: float, down: float) -> Iterator[tuple[float, Box]]:
    for radius in _RADII:
        for degrees in _DIRECTIONS:
            turn = math.radians(degrees)
            # The middle of the label, such that its edge is at the radius.
            middle_x = x + math.cos(turn) * (radius + across / 2)
            middle_y = y + math.sin(turn) * (radius + down / 2)
            yield (
                radius,
                Box(middle_x - across / 2, middle_y - down / 2, middle_x + across / 2, middle_y + down / 2),
            )
