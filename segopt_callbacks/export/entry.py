"""What the report has of one format, once its file is written, opened and audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segopt_callbacks.errors import listed
from segopt_callbacks.export import audit, promises
from segopt_callbacks.export.inference import Sources
from segopt_callbacks.export.report import told_of_ranges
from segopt_callbacks.export.target import Target
from segopt_callbacks.export.writing import Written


def entry_of(
    target: Target, written: Written, sources: Sources, model_rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Counts what a file holds, and holds it to what the model promises.

    Args:
        target: the format.
        written: its file.
        sources: what it was made from.
        model_rows: the audit of the model in memory, see `rows_of`.
    """
    source, notes, ranges = written.opened.source, written.notes, sources.ranges
    promised = rows_of(sources.stored(target), model_rows)
    counted, doubts = promises.counted(written.rows, promised, sources.kernels)
    doubts += promises.broken(written.rows, promised)
    rows = promises.with_removed(written.rows, model_rows)
    entry = {"seconds": round(written.seconds, 3), **audit.totals(counted), "weights": rows}
    removed = promises.removed(promised, model_rows, sources.kernels)
    entry |= {"removed": removed} if removed else {}
    entry |= {"warnings": doubts} if doubts else {}
    entry |= {"activations": written.activations} if written.activations else {}
    if target.takes_ranges and ranges:
        entry["ranges"] = ranges
        notes = {**notes, "ranges": told_of_ranges(ranges)}
    if target.is_integer and (source.plain or not source.has_ranges or ranges["calibrated"]):
        notes = {**notes, "calibrated on": sources.feed.calibration}
    if written.floats:
        entry["float_operations"] = written.floats
        notes = {**notes, "computes in float": listed(written.floats)}
    return written.weight | entry | ({"notes": notes} if notes else {})


def rows_of(weights: Mapping[str, np.ndarray], known: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """The audit of weights of rank 2 or more.

    Args:
        weights: path -> values.
        known: rows that are taken over for those of the same shape.
    """
    by_path = {row["weight"]: row for row in known}
    rows = []
    for path, value in weights.items():
        row = by_path.get(path)
        if value.ndim >= 2:
            is_whole = row is not None and row["shape"] == list(value.shape)
            rows.append(row if row and is_whole else audit.weight_row(path, value, channel_axis=-1, weight=path))
    return rows
