"""A whole page, and its parts."""

from __future__ import annotations

from segopt_callbacks.markup import Markup, element
from segopt_callbacks.pages.sorting import SCRIPT, source_of


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
