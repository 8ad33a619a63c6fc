"""HTML and SVG whose text is always escaped."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable
from typing import Any

from segopt_callbacks.errors import printable

_EMPTY = frozenset({"br", "img", "meta"})  # elements without an end


class Markup(str):
    """Text that is HTML already. Any other text is escaped where it is put in."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: Any) -> Markup:
    """One element.

    Whatever is not `Markup`, in children and in attributes, is taken for somebody's text: escaped, and in one line.

    Args:
        name: of the element.
        children: in order; `None` is left out.
        attributes: `class_` is `class`, and other underscores are hyphens; `None` is left out.

    Example:
        >>> element("b", "<script>", title='"')
        '<b title="&quot;">&lt;script&gt;</b>'
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            parts.append(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"')
    parts.append(">")
    if name not in _EMPTY:
        parts += [text(child) for child in children if child is not None]
        parts.append(f"</{name}>")
    return Markup("".join(parts))


def text(value: Any) -> Markup:
    r"""What somebody has written, such that it is shown and nothing else.

    >>> text("a<b\n"), text(Markup("<br>"))
    ('a&lt;b\\n', '<br>')
    """
    return value if isinstance(value, Markup) else Markup(html.escape(printable(str(value))))


def joined(*children: str | None) -> Markup:
    """Several pieces, one after the other.

    >>> joined("<", Markup("<br>"), None)
    '&lt;<br>'
    """
    return Markup("".join(text(child) for child in children if child is not None))


def with_code(paragraph: str) -> list[str]:
    """The pieces of a paragraph, those between backquotes as code.

    >>> with_code("a `b`")
    ['a ', '<code>b</code>', '']
    """
    return [element("code", part) if number % 2 else part for number, part in enumerate(paragraph.split("`"))]


def scrolling(head: Markup, body: Iterable[Markup]) -> Markup:
    """A table that scrolls by itself where it is wider than the page."""
    table = element("table", element("thead", head), element("tbody", *(joined(row, Markup("\n")) for row in body)))
    # A region that scrolls must be within reach of a keyboard.
    return element("div", table, class_="scroll", tabindex=0)


def head(*headings: str, words: Collection[str] = ()) -> Markup:
    """The line above a table.

    Args:
        headings: of its columns.
        words: which of them head words, not numbers.
    """
    cells = (element("th", breakable(one), scope="col", class_="words" if one in words else None) for one in headings)
    return element("tr", *cells)


def breakable(words: str) -> Markup:
    """Text whose long words may break behind a slash."""
    return Markup(text(words).replace("/", "/<wbr>"))
