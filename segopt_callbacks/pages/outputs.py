"""The figures of each output: read from a report, and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segopt_callbacks.markup import Markup, element, head, scrolling
from segopt_callbacks.pages import values
from segopt_callbacks.pages.entries import Output, Row
from segopt_callbacks.pages.figures import cell

OUTPUT_FIGURES = (  # key in the report, heading, pattern
    ("largest_difference", "largest diff.", "{:.2e}"),
    ("relative_difference", "relative diff.", "{:.2e}"),
    ("mean_difference", "mean diff.", "{:.2e}"),
    ("equal_argmax", "equal argmax", "{:.4f}"),
)


def parse_outputs(value: Any) -> tuple[Output, ...]:
    """Checks `outputs` of an entry of a report.

    Raises:
        CorruptFileError: naming what is not as it should be.

    Example:
        >>> parse_outputs([{"name": "mask", "largest_difference": 0.5, "equal_argmax": None}])
        (Output(name='mask', figures={'largest_difference': 0.5}, channel=None, magnitude=0.0),)
    """
    found = []
    for one in values.sequence(value, "`outputs`"):
        entry = values.mapping(one, "an output")
        name = values.text(entry.get("name"))
        found.append(Output(name, _figures(entry)))
        for channel in values.sequence(entry.get("channels"), "`channels`"):
            part = values.mapping(channel, "a channel")
            number = values.count(part.get("channel"), "`channel`") or 0
            magnitude = float(values.number(part.get("magnitude", 0), "`magnitude`"))
            found.append(Output(name, _figures(part), number, magnitude))
    return tuple(found)


def outputs_table(rows: Sequence[Row]) -> Markup | None:
    """Each output of each file, and channels that have units of their own; `None` where the main table says it all."""
    body = []
    for row in rows:
        for one in row.outputs if len(row.outputs) > 1 else ():
            label = (
                one.name if one.channel is None else f"{one.name}, channel {one.channel} (up to {one.magnitude:.2g})"
            )
            cells = [element("td", cell(one.figures.get(key), pattern)) for key, _, pattern in OUTPUT_FIGURES]
            name = element("th", element("span", row.name, class_="name"), scope="row")
            body.append(element("tr", name, element("td", label, class_="words"), *cells))
    headings = head("", "output", *(heading for _, heading, _ in OUTPUT_FIGURES), words=["output"])
    return scrolling(headings, body) if body else None


def _figures(entry: Mapping[str, Any]) -> dict[str, float]:
    keys = [key for key, _, _ in OUTPUT_FIGURES if entry.get(key) is not None]
    return {key: float(values.number(entry[key], f"`{key}`")) for key in keys}
