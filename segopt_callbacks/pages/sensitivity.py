"""How sensitive each weight is, read from a report."""

from __future__ import annotations

from typing import Any

from segopt_callbacks.pages import values
from segopt_callbacks.records import Changes, Measured
from segopt_callbacks.sizes import CorruptFileError


def parse_sensitivity(value: Any) -> Measured | None:
    """Checks `sensitivity` of a report; `None` where it was not measured.

    Raises:
        CorruptFileError: naming what is not as it should be.
    """
    entry = values.mapping(value, "`sensitivity`")
    if not entry:
        return None
    treatments = values.texts(entry.get("treatments"), "`treatments`")
    weights = values.sequence(entry.get("weights"), "`sensitivity`")
    return Measured(
        monitor=values.text(entry.get("monitor")),
        higher_is_better=entry.get("higher_is_better") is True,
        untreated=float(values.number(entry.get("untreated"), "`untreated`")),
        examples=values.count(entry.get("examples"), "`examples`") or 0,
        treatments=treatments,
        weights=tuple(_changes(one, len(treatments)) for one in weights),
    )


def _changes(value: Any, number: int) -> Changes:
    entry = values.mapping(value, "a weight")
    changes = tuple(values.mapping(entry.get("change"), "`change`").values())
    if len(changes) != number:
        raise CorruptFileError("`change` must have a value for each of `treatments`")
    return Changes(
        weight=values.text(entry.get("weight")),
        elements=values.count(entry.get("elements"), "`elements`") or 0,
        changes=tuple(None if one is None else float(values.number(one, "`change`")) for one in changes),
    )
