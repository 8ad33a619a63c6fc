"""Reads docstrings for the site: their doctests are blocks of code."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Puts each doctest into the section that griffe shows as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each object that it has read."""
        if obj.docstring:
            obj.docstring.value = in_sections(obj.docstring.value)


def in_sections(docstring: str) -> str:
    """Doctests under `Examples:`, whether they stood under `Example:` or by themselves at the end."""
    text = re.sub(r"^Example:$", "Examples:", docstring, flags=re.MULTILINE)
    before, prompt, rest = text.partition("\n\n>>> ")
    return f"{before}\n\nExamples:\n{textwrap.indent('>>> ' + rest, '    ')}" if prompt else text
