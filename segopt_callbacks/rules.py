"""What arguments must be, in one way everywhere: the rule, the value, and what was probably meant. Plain Python."""

from __future__ import annotations

import difflib
import math
import numbers
import os
from collections.abc import Iterable
from typing import Any

_ALIKE = 0.5  # of two names, from 0 (nothing in common) to 1
_LEAST_PERCENTAGE = 2  # that somebody means by a number; 1.5 is a slip


def did_you_mean(value: object, known: Iterable[str], *, is_quoted: bool = True) -> str:
    """What was probably meant by a name that is not known, as a sentence to put between rule and value.

    Args:
        value: what was given.
        known: what there is.
        is_quoted: whether it is text, and no flag or call.

    Returns:
        the sentence, with a space before it; empty where nothing is alike.

    >>> did_you_mean("int_8", ["int8", "float32"]), did_you_mean("tflite", ["int8"])
    (" Did you mean 'int8'?", '')
    """
    by_lower: dict[str, str] = {}
    for one in known:
        by_lower.setdefault(one.lower().lstrip("-"), one)
    given = value.lower().lstrip("-") if isinstance(value, str) else ""
    close = difflib.get_close_matches(given, by_lower, n=1, cutoff=_ALIKE)
    return "".join(f" Did you mean {repr(by_lower[one]) if is_quoted else by_lower[one]}?" for one in close)


def require_one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Checks a name.

    Raises:
        ValueError: if it is not known.

    >>> require_one_of("scope", "gobal", ["layer", "global"])
    Traceback (most recent call last):
    ValueError: `scope` must be one of layer, global. Did you mean 'global'? Received: scope='gobal'.
    """
    known = list(known)
    if not isinstance(value, str) or value not in known:
        hint = did_you_mean(value, known)
        raise ValueError(f"`{name}` must be one of {', '.join(known)}.{hint} Received: {name}={value!r}.")


def is_number(value: object) -> bool:
    """Whether this is a finite number, of Python or NumPy.

    >>> is_number(0.5), is_number(float("nan")), is_number(True)
    (True, False, False)
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def percent_for_fraction(value: Any) -> str:
    """The fraction that was probably meant by a percentage, as a sentence; empty for anything else.

    >>> percent_for_fraction(80), percent_for_fraction("80%"), percent_for_fraction(-1)
    (' Did you mean 0.8?', ' Did you mean 0.8?', '')
    """
    try:
        number = float(value.strip().removesuffix("%")) if isinstance(value, str) else value
    except ValueError:
        return ""
    if not is_number(number) or not 0 < number <= 100:
        return ""
    if number >= _LEAST_PERCENTAGE:
        return f" Did you mean {number / 100:g}?"
    return f" Did you mean {number:g}?" if isinstance(value, str) and number <= 1 else ""


def require_fraction(name: str, value: Any, what: str, *, low: str = "[", high: str = "]") -> None:
    """Checks a fraction.

    Args:
        name: of the argument.
        value: what was given.
        what: of what it is a fraction, `"zeros"`.
        low: `"("` where 0 is refused.
        high: `")"` where 1 is refused.

    Raises:
        ValueError: for anything else.

    >>> require_fraction("sparsity", 80, "zeros", high=")")
    Traceback (most recent call last):
    ValueError: `sparsity` must be a fraction of zeros, in [0, 1). Did you mean 0.8? Received: sparsity=80.
    """
    is_inside = is_number(value) and 0 <= value <= 1
    if not is_inside or (low == "(" and value == 0) or (high == ")" and value == 1):
        raise ValueError(
            f"`{name}` must be a fraction of {what}, in {low}0, 1{high}.{percent_for_fraction(value)} "
            f"Received: {name}={value!r}."
        )


def require_whole(name: str, value: Any, least: int, *, or_none: bool = False) -> None:
    """Checks a whole number.

    Raises:
        ValueError: for anything else, or one below `least`.

    >>> require_whole("batches", 0, 1, or_none=True)
    Traceback (most recent call last):
    ValueError: `batches` must be a whole number, at least 1, or None. Received: batches=0.
    """
    if value is None and or_none:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        more = ", or None" if or_none else ""
        raise ValueError(f"`{name}` must be a whole number, at least {least}{more}. Received: {name}={value!r}.")


def require_flag(name: str, value: object) -> None:
    """Checks what is on or off.

    Raises:
        ValueError: unless it is `True` or `False`.

    >>> require_flag("latency", True)
    """
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}.")


def require_verbose(value: object) -> None:
    """Checks how much is to be told.

    Raises:
        ValueError: unless it is 0, or a number above.

    >>> require_verbose(1)
    """
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"`verbose` must be 0 for silence, or 1. Received: verbose={value!r}.")


def require_path(name: str, value: object, *, or_none: bool = False) -> None:
    """Checks the path of a folder, without looking what is there.

    Raises:
        ValueError: for what is no path.

    >>> require_path("export_dir", "files")
    """
    is_path = isinstance(value, str | os.PathLike) and os.fspath(value)
    if not is_path and not (value is None and or_none):
        more = ", or None" if or_none else ""
        raise ValueError(f"`{name}` must be the path of a folder{more}. Received: {name}={_shown(value)}.")


def require_folder(name: str, value: Any, *, or_none: bool = False) -> None:
    """Checks the path of a folder, which need not exist.

    Raises:
        ValueError: for what is no path, or one of a file.

    >>> require_folder("log_dir", "logs")
    """
    require_path(name, value, or_none=or_none)
    if value is not None and os.path.isfile(value):
        raise ValueError(
            f"`{name}` must be the path of a folder; a file is there: name another one. Received: "
            f"{name}={os.fspath(value)!r}."
        )


def _shown(value: object) -> str:
    """A value, or what it is: models and data are long."""
    return repr(value) if value is None or isinstance(value, str | bytes | int | float) else type(value).__name__
