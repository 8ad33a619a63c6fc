"""Sparse tensors of a `.tflite` file: the values that are not zero, and where they stand <-> dense arrays.

The format is described in LiteRT's `schema.fbs` under `SparsityParameters`. It knows a tree of dimensions: each node of
a dense one has all of its entries, each node of a compressed one (CSR) those that are listed for it. Blocks are
dimensions of their own, below those that they divide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from segopt_callbacks.errors import FormatError

_VECTORS = (  # the smallest that holds the largest number of a list
    (np.uint8, schema.SparseIndexVector.Uint8Vector, schema.Uint8VectorT),
    (np.uint16, schema.SparseIndexVector.Uint16Vector, schema.Uint16VectorT),
    (np.int32, schema.SparseIndexVector.Int32Vector, schema.Int32VectorT),
)
_LARGEST_RATIO = 1024  # of a dense tensor to what a file lists of it: a CSR matrix lists a number for each row
_SMALL_VALUES = 1 << 16
_MOST_LEVELS = 16


def dense(stored: np.ndarray, shape: Sequence[int], sparsity: Any) -> np.ndarray:
    """The whole tensor.

    Args:
        stored: what the file holds of it, one value after the other.
        shape: of the tensor.
        sparsity: its `SparsityParametersT`.

    Returns:
        an array of that shape; zero is what is not stored.

    Raises:
        FormatError: if there are more or fewer values than places for them, or it claims to be larger than a sparse
            tensor is.

    Example:
        >>> values = np.array([[0, 7, 0], [0, 0, 0], [5, 0, 9]], np.int8)
        >>> dense(*encode(values)).tolist()
        [[0, 7, 0], [0, 0, 0], [5, 0, 9]]
    """
    _require_plausible(stored, shape, sparsity.dimMetadata)
    positions, sizes = _walk(sparsity.dimMetadata, math.prod(shape))
    order, block_map = list(sparsity.traversalOrder), _listed(sparsity.blockMap)
    places = []
    for axis in range(len(shape)):
        place = positions[order.index(axis)]
        for block, blocked in enumerate(block_map):
            if blocked == axis:
                level = order.index(len(shape) + block)
                place = place * sizes[level] + positions[level]
        places.append(place)
    if stored.size != places[0].size:
        raise FormatError(
            f"the file is damaged: a sparse tensor stores {stored.size} values, and has places for {places[0].size}"
        )
    values = np.zeros(tuple(shape), stored.dtype)
    values[tuple(places)] = stored
    return values


def encode(values: np.ndarray) -> tuple[np.ndarray, tuple[int, ...], Any]:
    """Leaves the zeros out: one axis compressed, whichever takes the fewest bytes, the others dense.

    Args:
        values: rank 1 or more.

    Returns:
        the arguments of `dense`.
    """
    axis = min(range(values.ndim), key=lambda one: _index_bytes(values, one))
    rows = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    is_stored = rows != 0
    segments = np.concatenate([[0], np.cumsum(is_stored.sum(axis=1))])
    order = [*(one for one in range(values.ndim) if one != axis), axis]
    levels = [schema.DimensionMetadataT(denseSize=values.shape[one]) for one in order[:-1]]
    last = schema.DimensionMetadataT(format=schema.DimensionType.SPARSE_CSR)
    last.arraySegmentsType, last.arraySegments = _vector(segments)
    last.arrayIndicesType, last.arrayIndices = _vector(np.nonzero(is_stored)[1])
    sparsity = schema.SparsityParametersT(traversalOrder=order, dimMetadata=[*levels, last])
    return rows[is_stored], values.shape, sparsity


def encoded_bytes(values: np.ndarray) -> int:
    """What `encode` makes of a tensor, in bytes.

    Example:
        >>> encoded_bytes(np.eye(10, dtype="float32"))  # 10 values of 4 bytes, their indices, and where 10 rows begin
        61
    """
    indices = min(_index_bytes(values, axis) for axis in range(values.ndim))
    return int(np.count_nonzero(values)) * values.itemsize + indices


def _require_plausible(stored: np.ndarray, shape: Sequence[int], levels: Sequence[Any]) -> None:
    """Raises for a few bytes that claim to be gigabytes; the arrays of their places would be as large."""
    indices = sum(len(_listed(one.values)) for level in levels for one in _vectors(level))
    largest = _LARGEST_RATIO * (stored.size + indices) + _SMALL_VALUES
    if len(levels) > _MOST_LEVELS or not 0 <= math.prod(shape) <= largest:
        raise FormatError(
            f"the file is damaged: a sparse tensor of shape {tuple(map(int, shape))} in {len(levels)} levels stores "
            f"{stored.size} values"
        )


def _vectors(level: Any) -> list[Any]:
    return [one for one in (level.arraySegments, level.arrayIndices) if one is not None]


def _walk(levels: Sequence[Any], most: int) -> tuple[list[np.ndarray], list[int]]:
    """The position of each stored value in each level of the tree, and the sizes of dense levels; `most` values."""
    positions: list[np.ndarray] = []
    sizes: list[int] = []
    nodes = 1
    for level in levels:
        if level.format == schema.DimensionType.DENSE:
            _require_places(nodes * level.denseSize, most)
            children, here = np.full(nodes, level.denseSize), np.tile(np.arange(level.denseSize), nodes)
        else:
            segments = np.asarray(level.arraySegments.values, np.int64)
            children, here = np.diff(segments), np.asarray(_listed(level.arrayIndices.values), np.int64)
            _require_places(int(children.sum()), here.size)
        positions = [np.repeat(one, children) for one in positions] + [here]
        sizes.append(int(level.denseSize))
        nodes = here.size
    return positions, sizes


def _require_places(count: int, most: int) -> None:
    if not 0 <= count <= most:
        raise FormatError(f"the file is damaged: a sparse tensor has {count} places where {most} are left")


def _index_bytes(values: np.ndarray, axis: int) -> int:
    count = int(np.count_nonzero(values))
    rows = values.size // max(values.shape[axis], 1)
    return count * _width(values.shape[axis] - 1) + (rows + 1) * _width(count)


def _width(largest: int) -> int:
    return next(np.dtype(dtype).itemsize for dtype, _, _ in _VECTORS if largest <= np.iinfo(dtype).max)


def _vector(numbers: np.ndarray) -> tuple[int, Any]:
    largest = int(numbers.max(initial=0))
    dtype, kind, make = next(one for one in _VECTORS if largest <= np.iinfo(one[0]).max)
    vector = make()
    vector.values = numbers.astype(dtype)
    return kind, vector


def _listed(numbers: Any) -> Any:
    return [] if numbers is None else numbers
