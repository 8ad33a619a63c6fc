"""What a written file really holds: counts over its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.arrays import distinct, row_blocks, sortable
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.matching import kernels, matched
from segopt_callbacks.sizes import file_bytes

SMALLEST_SHARE = 0.5  # of the weights' own bytes; less, and some of them are not in the file
LEAST_BYTES = 4096  # below this many bytes of weights the check says nothing


@dataclass(frozen=True)
class StoredWeight:
    """A constant that an operator multiplies by.

    Attributes:
        name: of the tensor in the file.
        operator: what multiplies by it, such as `CONV_2D`; empty where nothing tells.
        dtype: of what is stored, such as `int4`.
        values: dense, integer codes where quantized.
        channel_axis: the axis of output channels.
        scales: of quantized values.
        zero_point: the code that means 0, or one for each value.
    """

    name: str
    operator: str
    dtype: str
    values: np.ndarray
    channel_axis: int
    scales: np.ndarray
    zero_point: Any

    @property
    def channels(self) -> np.ndarray:
        """The values without their zero point, `(channels, elements)`."""
        first = np.moveaxis(self.values, self.channel_axis, 0)
        channels = first.reshape(first.shape[0], -1).astype(np.float32, copy=False)
        return channels - self.zero_point if np.any(self.zero_point) else channels


def weight_row(
    name: str,
    values: np.ndarray,
    *,
    channel_axis: int,
    dtype: str | None = None,
    zero_point: Any = 0,
    scales: Any = (),
    weight: str | None = None,
) -> dict[str, Any]:
    """Counts what matters in one stored weight.

    Args:
        name: the tensor's name in the file.
        values: as stored (integer codes where quantized), rank 2 or more.
        channel_axis: the axis of output channels.
        dtype: what is stored, where that is not the dtype of `values`: NumPy has no `"int4"`.
        zero_point: the code that means 0.
        scales: of quantized values, one or one for each channel.
        weight: the path of the model's own weight, where known.

    Returns:
        `name`, `weight`, `shape`, `dtype`, `elements`. Counts: `zeros`, `distinct` values that are stored,
        `max_distinct_per_channel`, `scales`. `entropy_bytes`, see there. Where there are scales, `scale_range`: the
        smallest and the largest.

    Example:
        >>> row = weight_row("kernel", np.array([[0.0, 1.0], [2.0, 1.0]]), channel_axis=-1)
        >>> row["zeros"], row["distinct"], row["max_distinct_per_channel"]
        (1, 3, 2)
    """
    channels = np.moveaxis(values, channel_axis, 0).reshape(values.shape[channel_axis], -1)
    _, counts = distinct(values)
    row = {
        "name": name,
        "weight": weight,
        "shape": list(values.shape),
        "dtype": dtype or values.dtype.name,
        "elements": int(values.size),
        "zeros": int((values == zero_point).sum()),
        "distinct": counts.size,
        "max_distinct_per_channel": max(_most_distinct(channels[part]) for part in row_blocks(*channels.shape)),
        "entropy_bytes": entropy_bytes(counts, 0.5 if dtype == "int4" else values.itemsize),
        "scales": int(np.size(scales)),
    }
    return {**row, "scale_range": [float(np.min(scales)), float(np.max(scales))]} if row["scales"] else row


def _most_distinct(channels: np.ndarray) -> int:
    ordered = np.sort(sortable(channels), axis=1)
    return 1 + int((ordered[:, 1:] != ordered[:, :-1]).sum(axis=1).max())


def weight_rows(stored: Iterable[StoredWeight], weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The rows of a file's weight audit, see `weight_row`.

    Args:
        stored: the weights of the file; each is let go before the next is asked for.
        weights: path -> value, the model's own; rows are named by those they come from.

    Raises:
        FormatError: if a weight is outside of what its dtype can hold.
    """
    rows: list[dict[str, Any]] = []
    overflown: list[str] = []
    free = kernels(weights)
    for one in stored:
        if _overflows(one.values):
            overflown.append(one.name)
        elif not overflown:
            rows.append(_row_of(one, matched(one.channels, free)))
        del one  # while the next one is made
    if overflown:
        raise FormatError(f"weights overflow their dtype in the file: {', '.join(overflown)}; scale them down")
    return rows


def _row_of(one: StoredWeight, weight: str | None) -> dict[str, Any]:
    return weight_row(
        one.name,
        one.values,
        channel_axis=one.channel_axis,
        dtype=one.dtype,
        zero_point=one.zero_point,
        scales=one.scales,
        weight=weight,
    )


def entropy_bytes(counts: np.ndarray, itemsize: float) -> int:
    """The bytes that an ideal entropy coder needs for a weight: `sum(-n log2(n / N)) / 8`, and each value once.

    (Shannon 1948.) Never more than the weight takes as it is.

    Args:
        counts: `(distinct values,)`, how often each occurs.
        itemsize: bytes of a value.

    Example:
        >>> entropy_bytes(np.array([8, 8]), 4), entropy_bytes(np.ones(16), 4)
        (10, 64)
    """
    size = counts.sum()
    bits = -(counts * np.log2(counts / size)).sum()
    return int(min(np.ceil(bits / 8) + counts.size * itemsize, size * itemsize))


def totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over all weights.

    Returns:
        `elements`, `zeros` (a fraction, in [0, 1]), `max_distinct_per_channel` and `entropy_bytes`.

    Example:
        >>> totals([{"elements": 4, "zeros": 1, "max_distinct_per_channel": 2, "entropy_bytes": 9}])
        {'elements': 4, 'zeros': 0.25, 'max_distinct_per_channel': 2, 'entropy_bytes': 9}
    """
    elements = sum(row["elements"] for row in rows)
    return {
        "elements": elements,
        "zeros": sum(row["zeros"] for row in rows) / elements if elements else 0.0,
        "max_distinct_per_channel": max((row["max_distinct_per_channel"] for row in rows), default=0),
        "entropy_bytes": sum(row["entropy_bytes"] for row in rows),
    }


def require_size(path: Path, weights: Mapping[str, np.ndarray], bytes_per_weight: float) -> None:
    """Raises if a file or folder is too small for the weights it is made of; zeros may be left out of it.

    Args:
        path: the file or folder.
        weights: path -> value, the weights that the frozen function reads.
        bytes_per_weight: what the format takes for each.

    Raises:
        FormatError: if it is smaller than half of its weights.
    """
    kernels = [value for value in weights.values() if value.ndim >= 2]
    needed = sum(int(np.count_nonzero(value)) for value in kernels) * bytes_per_weight
    size = file_bytes(path)
    if needed > LEAST_BYTES and size < SMALLEST_SHARE * needed:
        raise FormatError(
            f"the file is far too small for its parameters: {size} bytes, and {needed:.0f} bytes of weights to hold; "
            "the converter lost them"
        )


def _overflows(values: np.ndarray) -> bool:
    # The converter writes float16's largest number, or infinity, for what does not fit.
    if not np.issubdtype(values.dtype, np.floating):
        return False
    limit = np.finfo(values.dtype).max
    return not bool(-limit < values.min(initial=0) and values.max(initial=0) < limit)
