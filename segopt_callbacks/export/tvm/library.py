"""Reads the weights out of a shared library that TVM has compiled, without TVM."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.audit import weight_row
from segopt_callbacks.export.matching import match_weights

LIBRARY = "model.so"
# How TVM's runtime stores a tensor: this number, 8 bytes for later use, device, rank and dtype, sizes, bytes, values.
MAGIC = struct.pack("<Q", 0xDD5E40F096B4A13F)
_HEADER = struct.Struct("<8sQiiiBBH")
_CPU, _MAX_RANK = 1, 8
_KINDS = {0: "i", 1: "u", 2: "f"}  # DLPack's


def constants(content: bytes) -> Iterator[np.ndarray]:
    """The tensors in a library's pool of constants, in order.

    Args:
        content: the file.

    Yields:
        arrays that share the memory of `content`.
    """
    start = content.find(MAGIC)
    while start >= 0:
        tensor = _tensor(content, start)
        if tensor is not None:
            yield tensor
        start = content.find(MAGIC, start + len(MAGIC) if tensor is None else start + tensor.nbytes)


def _tensor(content: bytes, start: int) -> np.ndarray | None:
    """The tensor at an offset; `None` where the magic number is something else, such as code that compares with it."""
    if start + _HEADER.size > len(content):
        return None
    _, _, device, _, rank, kind, bits, lanes = _HEADER.unpack_from(content, start)
    if device != _CPU or not 0 <= rank <= _MAX_RANK or kind not in _KINDS or lanes != 1 or bits not in (8, 16, 32, 64):
        return None
    sizes = start + _HEADER.size
    begin = sizes + 8 * (rank + 1)
    if begin > len(content):
        return None
    *shape, size = struct.unpack_from(f"<{rank + 1}q", content, sizes)
    if any(one < 0 for one in shape) or size != math.prod(shape) * bits // 8 or begin + size > len(content):
        return None
    return np.frombuffer(content, f"<{_KINDS[kind]}{bits // 8}", math.prod(shape), begin).reshape(shape)


def read_weights(path: Path, weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The rows of a library's weight audit, see `audit.weight_row`.

    The library does not say what multiplies by a constant. Weights are the constants of rank 2 or more that are the
    model's own but for the scale of output channels; a weight that is not found so is any constant of its size.

    Args:
        path: the folder.
        weights: path -> value, the model's own weights; rows are named by those they come from.

    Raises:
        FormatError: if there is not a single tensor in the library.
    """
    tensors = list(constants((path / LIBRARY).read_bytes()))
    if not tensors:
        raise FormatError("no constants are found in the library; this version of TVM stores them in another way")
    candidates = {index: one for index, one in enumerate(tensors) if one.dtype.kind == "f" and one.ndim >= 2}
    free = {name: value for name, value in weights.items() if value.ndim >= 2}
    origins: dict[int, tuple[str | None, int]] = {}
    # What has but one size above 1 chooses last: a bias may look like a weight of one channel.
    for index in sorted(candidates, key=lambda one: not _is_matrix(candidates[one])):
        name, axis = _origin(candidates[index], free)
        if name is not None:
            origins[index] = name, axis
            del free[name]
    for index in candidates.keys() - origins.keys():
        if candidates[index].size in {value.size for value in free.values()}:
            origins[index] = None, 0
    return [
        weight_row(f"constant_{index}", tensors[index], channel_axis=axis, weight=name)
        for index, (name, axis) in sorted(origins.items())
    ]


def _origin(values: np.ndarray, weights: Mapping[str, np.ndarray]) -> tuple[str | None, int]:
    """The weight that a constant comes from, and the constant's axis of output channels."""
    for axis, order in _layouts(values.ndim):
        ordered = values.transpose(order)
        (name,) = match_weights([ordered.reshape(ordered.shape[0], -1)], weights)
        if name is not None:
            return name, axis
    return None, 0


def _layouts(rank: int) -> list[tuple[int, tuple[int, ...]]]:
    """The axis of output channels, and the order `(out, ..., in)`, of each way in which ONNX lays out a weight."""
    inner = tuple(range(2, rank))
    matrix = (rank - 1, (rank - 1, *range(rank - 1)))  # (..., in, out)
    return [(0, (0, *inner, 1)), (1, (1, *inner, 0)), matrix]


def _is_matrix(values: np.ndarray) -> bool:
    return sum(size > 1 for size in values.shape) >= 2
