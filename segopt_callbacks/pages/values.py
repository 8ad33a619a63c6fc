"""One value of a report -> the type that it must have. What does not fit is named; nothing is believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from segopt_callbacks.sizes import CorruptFileError

MOST_ENTRIES = 1000  # of a list of names, of formats, of baselines
_LONGEST_TEXT = 2000  # characters of a name or a cause that are shown
_LARGEST_INTEGER = 1 << 63


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """An object; an empty one for nothing.

    Raises:
        CorruptFileError: naming it by `what`.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise CorruptFileError(f"{what} must be an object; it is {_kind(value)}")
    return value


def sequence(value: Any, what: str) -> list[Any] | tuple[Any, ...]:
    """A list; an empty one for nothing.

    Raises:
        CorruptFileError: naming it by `what`.
    """
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise CorruptFileError(f"{what} must be a list; it is {_kind(value)}")
    return value


def text(value: Any) -> str:
    """Text, cut where nobody reads on."""
    whole = "" if value is None else value if isinstance(value, str) else f"({_kind(value)})"
    return whole if len(whole) <= _LONGEST_TEXT else f"{whole[:_LONGEST_TEXT]}..."


def texts(value: Any, what: str) -> tuple[str, ...]:
    """A list of texts, cut at `MOST_ENTRIES`.

    Raises:
        CorruptFileError: naming it by `what`.
    """
    return tuple(map(text, sequence(value, what)[:MOST_ENTRIES]))


def number(value: Any, what: str) -> float:
    """A number that is finite.

    Raises:
        CorruptFileError: naming it by `what`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CorruptFileError(f"{what} must be a number; it is {_kind(value)}")
    if abs(value) > _LARGEST_INTEGER if isinstance(value, int) else not math.isfinite(value):
        raise CorruptFileError(f"{what} is a number beyond all bounds")
    return value


def count(value: Any, what: str) -> int | None:
    """A whole number from 0; `None` for nothing.

    Raises:
        CorruptFileError: naming it by `what`.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_INTEGER:
        raise CorruptFileError(f"{what} must be a whole number from 0 to 2^63; it is {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    names = {bool: "a truth value", int: "a number", float: "a number", str: "text", type(None): "nothing"}
    return names.get(type(value), "an object" if isinstance(value, Mapping) else "a list")


def refuse(constant: str) -> None:
    """Takes no NaN or infinity out of JSON, which has none.

    Raises:
        CorruptFileError: always.
    """
    raise CorruptFileError(f"it holds {constant}, which is no number")
