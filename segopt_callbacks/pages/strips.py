"""One strip for each format: a cell for each weight, as wide as it is large, as dark as it has zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence

from segopt_callbacks.markup import Markup, element
from segopt_callbacks.pages.entries import Row, Weight

_KINDS = (  # CSS class of a dtype, by what its name begins with
    ("float32", "f32"),
    ("float64", "f32"),
    ("float", "f16"),
    ("bfloat", "f16"),
    ("int4", "i4"),
    ("uint4", "i4"),
    ("int2", "i4"),
    ("uint2", "i4"),
    ("int8", "i8"),
    ("uint8", "i8"),
)
LEGEND = (("f32", "float32"), ("f16", "float16"), ("i8", "int8"), ("i4", "4 bits or less"), ("other", "another"))


def strips(rows: Sequence[Row]) -> Markup | None:
    """A strip for each row that has weights, the weights in the first one's order.

    Args:
        rows: the model first, then the formats.

    Returns:
        the strips with their legend, `None` if no row has any weight.
    """
    rows = [row for row in rows if row.weights]
    if not rows:
        return None
    order = {weight.name: number for number, weight in enumerate(rows[0].weights)}
    lines = []
    for row in rows:
        weights = sorted(row.weights, key=lambda weight: order.get(weight.name, len(order)))
        cells = [_cell(weight) for weight in weights]
        strip = element("div", *cells, class_="strip", role="img", aria_label=f"{len(cells)} weights of {row.name}")
        lines.append(element("div", element("span", row.name, class_="name"), strip, class_="strip-line"))
    used = {_kind(weight) for row in rows for weight in row.weights}
    swatches = [
        element("span", element("span", class_=f"cell {kind}"), f" {name}", class_="swatch")
        for kind, name in LEGEND
        if kind in used
    ]
    shades = [
        element(
            "span",
            element("span", element("i", style=f"opacity:{share}"), class_="cell"),
            f" {share:g}",
            class_="swatch",
        )
        for share in (0, 0.5, 1)
    ]
    legend = element("p", "Stored as: ", *swatches, " Fraction of zeros: ", *shades, class_="legend")
    return element("div", *lines, legend)


def _cell(weight: Weight) -> Markup:
    share = weight.zeros / weight.elements if weight.elements else 0.0
    shape = "x".join(map(str, weight.shape))
    title = (
        f"{weight.name}: {shape} = {weight.elements:,} weights, {weight.dtype}, zeros {share:.4f}, "
        f"{weight.distinct:,} distinct"
    )
    # By the square root: a kernel of 80 weights is seen beside one of 300,000.
    grow = max(math.sqrt(weight.elements), 1)
    dark = element("i", style=f"opacity:{share:.3f}")
    return element("span", dark, class_=f"cell {_kind(weight)}", style=f"flex-grow:{grow:.0f}", title=title)


def _kind(weight: Weight) -> str:
    return next((kind for start, kind in _KINDS if weight.dtype.startswith(start)), "other")
