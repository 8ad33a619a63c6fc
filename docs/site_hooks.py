"""What the site has beyond the pages of docs/: docstrings on the API page, and no links that leave the site."""

from __future__ import annotations

import re
from typing import Any

OF_TFMOT = ("PolynomialDecay", "ConstantSparsity")  # tfmot's own classes: their docstrings are not ours


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for each page before it becomes HTML."""
    text = without_checkout(markdown)
    return with_docstrings(text) if page.file.src_uri == "api.md" else text


def without_checkout(text: str) -> str:
    """Links to files of the checkout as plain text: the site has the pages of docs/ alone."""
    return re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", text)


def with_docstrings(text: str) -> str:
    """Each section of the API page, and the docstring of what it is about."""
    head, *sections = re.split(r"^(?=## `)", text, flags=re.MULTILINE)
    return head + "".join(map(_with_docstring, sections))


def _with_docstring(section: str) -> str:
    name = re.match(r"## `(\w+)`", section)[1]
    if name in OF_TFMOT:
        return section
    return f'{section.rstrip()}\n\n??? info "Docstring"\n\n    ::: segopt_callbacks.{name}\n\n'
