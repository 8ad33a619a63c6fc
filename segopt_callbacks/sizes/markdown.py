"""Somebody's text in Markdown, such that it is shown and nothing else: no HTML, links, cells or headings of its own."""

from __future__ import annotations

import html
import re
from typing import Any

from segopt_callbacks.errors import printable

_SPECIAL = re.compile(r"([\\`*\[\]|~])|(?<!\w)(_)|(_)(?!\w)")  # an underscore inside of a word is only that


def plain(value: Any) -> str:
    r"""Text, in a line or in the cell of a table.

    >>> plain("mean_iou"), plain("a|b<c>\n"), plain("[a](b)")
    ('mean_iou', 'a\\|b&lt;c&gt;\\\\n', '\\[a\\](b)')
    """
    text = _SPECIAL.sub(lambda match: f"\\{match[0]}", printable(str(value)))
    return html.escape(text, quote=False)


def code(value: Any) -> str:
    r"""A name between backquotes, in a line or in the cell of a table.

    >>> code("conv/kernel"), code("a|b`c")
    ('`conv/kernel`', '``a\\|b`c``')
    """
    text = printable(str(value)).replace("|", r"\|") or " "
    longest = max(map(len, re.findall("`+", text)), default=0)
    edge = " " if text.startswith("`") or text.endswith("`") else ""
    fence = "`" * (longest + 1)
    return f"{fence}{edge}{text}{edge}{fence}"


def prose(value: Any) -> str:
    """A sentence of ours that may quote somebody: what is between backquotes stays code.

    >>> prose("pass `evaluation_data`, <b>")
    'pass `evaluation_data`, &lt;b&gt;'
    """
    parts = str(value).split("`")
    if len(parts) % 2 == 0:  # one is left over: which are whose?
        return plain(value)
    return "".join(code(part) if number % 2 else plain(part) for number, part in enumerate(parts))
