"""HTML and SVG whose text is always escaped."""

from __future__ import annotations

import html
from typing import Any

from segopt_callbacks.errors import printable
from segopt_callbacks.pages.sorting import SCRIPT, source_of

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


def section(heading: str, *children: str | None) -> Markup | None:
    """A part of a page under a heading; `None` where there is nothing to say."""
    present = [child for child in children if child]
    return element("section", element("h2", heading), *present) if present else None


def document(title: str, style: str, *children: str) -> Markup:
    """A whole page that loads nothing and runs nothing but the sorting of tables, and says so to the browser.

    Args:
        title: of the window.
        style: CSS of ours.
        children: what it shows.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    )
    body = element("body", element("main", *children), element("script", Markup(SCRIPT)))
    page = element("html", head, Markup("\n"), body, lang="en")
    return Markup(f"<!DOCTYPE html>\n{page}\n")


_POLICY = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {source_of(SCRIPT)}"
