"""Colours of classes where nobody has chosen any."""

from __future__ import annotations

# Okabe and Ito (2008): told apart by every kind of colour vision.
_COLOURS = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
_TINTS = ((0, 1.0), (255, 0.5), (90, 0.5))  # mixed with, and how much of the colour is left


def class_colours(count: int, palette: tuple[tuple[int, ...], ...] = ()) -> list[tuple[int, ...]]:
    """A colour for each class: those of the palette, and beyond it eight that everybody tells apart, with their tints.

    Args:
        count: of classes.
        palette: `(red, green, blue)`, 0 to 255; may be shorter.

    Example:
        >>> class_colours(3, ((9, 9, 9),))
        [(9, 9, 9), (230, 159, 0), (86, 180, 233)]
    """
    return [palette[number] if number < len(palette) else _built_in(number) for number in range(count)]


def _built_in(number: int) -> tuple[int, ...]:
    other, share = _TINTS[number // len(_COLOURS) % len(_TINTS)]
    return tuple(round(part * share + other * (1 - share)) for part in _COLOURS[number % len(_COLOURS)])
