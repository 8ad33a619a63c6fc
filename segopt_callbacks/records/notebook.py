"""What a notebook shows of an object: HTML whose style reaches nothing else, on any ground.

Notebooks put it into a page of their own, light or dark, and some hosts leave out its style: it can be read without.
"""

from __future__ import annotations

from segopt_callbacks.markup import Markup, element

CLASS = "segopt-shown"
# No colour of text or ground: both are the notebook's. Half-transparent grey, green and orange are seen on any.
_RULES = {
    ".scroll": "overflow-x: auto;",
    "table": "border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 8px 0;",
    "tr > *": "padding: 4px 10px; text-align: right; white-space: nowrap; vertical-align: top; "
    "border-bottom: 1px solid rgba(128, 128, 128, 0.4);",
    "thead th": "vertical-align: bottom;",
    "tr > th:first-child": "text-align: left;",
    "tr > .words": "text-align: left; white-space: normal;",
    "small": "display: block; opacity: 0.75; font-size: 11px;",
    ".muted": "opacity: 0.75; font-size: 12px;",
    "tr > .best": "box-shadow: inset 0 -2px rgb(26, 156, 120);",
    ".bar": "display: block; height: 5px; min-width: 64px; background: rgba(128, 128, 128, 0.2); text-align: left;",
    ".bar i": "display: block; height: 100%; background: rgb(214, 110, 30);",
}
STYLE = "\n".join(f".{CLASS} {selector} {{ {rule} }}" for selector, rule in _RULES.items())


def for_notebook(*children: str | None) -> Markup:
    """What a method `_repr_html_` returns.

    Args:
        children: what is shown; whatever is not `Markup` is escaped.

    Example:
        >>> for_notebook("<b>").endswith("</style>&lt;b&gt;</div>")
        True
    """
    return element("div", element("style", Markup(STYLE)), *children, class_=CLASS)
