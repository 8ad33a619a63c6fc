"""Marks of a plot: eight colours, and four shapes, so that no two groups differ in colour alone."""

from __future__ import annotations

from segopt_callbacks.markup import Markup, element

GROUPS = 8  # colours; `style` has one for each
SIZE = 4.5  # half of a mark's


def shape(group: int, x: float, y: float, *, is_hollow: bool = False) -> Markup:
    """The mark of a group at a position."""
    size, number = SIZE, group % GROUPS
    css = f"group{number} hollow" if is_hollow else f"group{number}"
    outlines = (
        "",
        f"m{-size} {-size}h{2 * size}v{2 * size}h{-2 * size}z",
        f"m0 {-size * 1.3:.1f}l{size * 1.2:.1f} {size * 2.1:.1f}h{-size * 2.4:.1f}z",
        f"m0 {-size * 1.4:.1f}l{size * 1.4:.1f} {size * 1.4:.1f}l{-size * 1.4:.1f} {size * 1.4:.1f}"
        f"l{-size * 1.4:.1f} {-size * 1.4:.1f}z",
    )
    outline = outlines[(number + number // len(outlines)) % len(outlines)]
    if not outline:
        return element("circle", class_=css, cx=f"{x:.1f}", cy=f"{y:.1f}", r=size)
    return element("path", class_=css, d=f"M{x:.1f} {y:.1f}{outline}")


def symbol(group: int) -> Markup:
    """The mark of a group alone, for a legend."""
    return element("svg", shape(group, 7, 7), width=14, height=14, viewBox="0 0 14 14", aria_hidden="true")
