"""A report in a notebook: its first sentence, what failed, and the figures by which files are judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segopt_callbacks.markup import element
from segopt_callbacks.pages import reading, tables
from segopt_callbacks.pages.beside import beside_dense
from segopt_callbacks.pages.best import best_words
from segopt_callbacks.pages.made import made_words
from segopt_callbacks.records import for_notebook


def notebook(report: Mapping[str, Any]) -> str:
    """What a notebook shows of a report, as `_repr_html_` returns it.

    Args:
        report: as `export_model` returns it.

    Raises:
        CorruptFileError: if the report is not as it should be.
    """
    parsed = reading.parse(report, with_weights=False)
    best = best_words(parsed)
    warnings = [f"Warning: {warning}" for warning in parsed.warnings]
    warnings += [f"Warning: {row.name}: {warning}" for row in parsed.rows for warning in row.warnings]
    told = (parsed.model, f"run on {parsed.examples:,} examples ({parsed.data})", made_words(parsed.made))
    return for_notebook(
        element("p", best) if best else None,
        tables.figures_table(parsed.rows, beside=beside_dense(parsed), is_brief=True),
        *(element("p", warning) for warning in warnings),
        element("p", ", ".join(one for one in told if one), class_="muted"),
    )
