"""What a file promises of the model's weights: which of them its figures count, and how many distinct values it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_SHARED = 256  # values of a weight that was clustered; with more there is nothing to promise
_NAMED = 5  # weights in a sentence

Row = Mapping[str, Any]  # see `audit.weight_row`


def counted(
    rows: Sequence[Row], model: Sequence[Row], kernels: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows that a file's totals count: one for each kernel of the model, the same in every format.

    Args:
        rows: the audit of a file.
        model: that of the model in memory.
        kernels: paths of the weights that the model multiplies by.

    Returns:
        the rows, a stored weight of equal size for a kernel whose values the converter has changed too far to be
        recognised; and a sentence on the kernels that are not in the file, if there are any.

    Example:
        >>> one, table = ({"weight": name, "elements": 4, "name": name} for name in ("kernel", "table"))
        >>> counted([one, table], [one, table], ["kernel"])[0] == [one]
        True
    """
    found = {row["weight"]: row for row in rows if row["weight"] is not None}
    others = [row for row in rows if row["weight"] is None]
    chosen, missing = [], []
    for kernel in (row for row in model if row["weight"] in set(kernels)):
        row = found.get(kernel["weight"])
        if row is None:
            row = next((one for one in others if one["elements"] == kernel["elements"]), None)
            others = [one for one in others if one is not row]
        if row is None:
            missing.append(kernel["weight"])
        else:
            chosen.append(dict(row))
    told = f"figures of its weights leave out what is not found in it: {_named(missing)}"
    return chosen, [told] if missing else []


def removed(rows: Sequence[Row], model: Sequence[Row], kernels: Sequence[str]) -> int:
    """How many of the weights that the model multiplies by a file is made without.

    Args:
        rows: the audit of the weights that the file is made of.
        model: that of the model in memory.
        kernels: paths of the weights that the model multiplies by.

    Example:
        >>> removed([{"weight": "kernel", "elements": 6}], [{"weight": "kernel", "elements": 8}], ["kernel"])
        2
    """
    whole, left = (sum(row["elements"] for row in one if row["weight"] in set(kernels)) for one in (model, rows))
    return int(whole - left)


def with_removed(rows: Sequence[Row], model: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows, each told how many of the model's weights it is without: `removed`, where there are any.

    Args:
        rows: the audit of a file.
        model: that of the model in memory.

    Example:
        >>> with_removed([{"weight": "kernel", "elements": 6}], [{"weight": "kernel", "elements": 8}])
        [{'weight': 'kernel', 'elements': 6, 'removed': 2}]
    """
    whole = {row["weight"]: row["elements"] for row in model}
    lost = [whole.get(row["weight"], row["elements"]) - row["elements"] for row in rows]
    return [dict(row) | ({"removed": one} if one > 0 else {}) for row, one in zip(rows, lost, strict=True)]


def broken(rows: Sequence[Row], model: Sequence[Row]) -> list[str]:
    """Where a file has more distinct values than the model: a converter has multiplied channels, or has rounded them.

    Args:
        rows: the audit of a file.
        model: that of the model in memory.

    Returns:
        a sentence that names the weights; empty if every weight that shares values does so in the file.

    Example:
        >>> row = {"weight": "kernel", "elements": 900, "zeros": 0, "distinct": 16, "name": "kernel"}
        >>> broken([{**row, "distinct": 505}], [row])
        ['weights have more distinct values than in the model, as the converter has scaled them: kernel (505 for 16)']
    """
    ours = {row["weight"]: row for row in model}
    taken = {row["weight"] for row in rows}
    found = []
    for row in rows:
        alike = [ours.get(row["weight"])] if row["weight"] is not None else _alike(row, model, taken)
        shared = [one for one in alike if one is not None]
        if not shared or not all(map(_shares, shared)):
            continue
        most = max(one["distinct"] for one in shared)
        if row["distinct"] > most:
            found.append(f"{row['weight'] or row['name']} ({row['distinct']} for {most})")
    told = f"weights have more distinct values than in the model, as the converter has scaled them: {_named(found)}"
    return [told] if found else []


def _alike(row: Row, model: Sequence[Row], taken: set[str | None]) -> list[Row]:
    """The model's weights that a stored one may stand for, whose values a converter has changed."""
    return [one for one in model if one["weight"] not in taken and one["elements"] == row["elements"]]


def _shares(row: Row) -> bool:
    # Weights that happen to be few share nothing.
    return bool(row["distinct"] <= MOST_SHARED and 2 * row["distinct"] <= row["elements"] - row["zeros"])


def _named(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest
