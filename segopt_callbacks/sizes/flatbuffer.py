"""What is inside a `.tflite`: a flatbuffer of tables, each of which finds its fields through a table of offsets.

Offsets may lead anywhere, also to where others lead. A few bytes that point at each other could so stand for millions
of tables; the bytes of all vectors are therefore counted, and never exceed those of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segopt_callbacks.sizes.readers import CorruptFileError, StoredTensor, collected, digest, mapped

_DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16"}
_DTYPES |= {9: "int8", 10: "float64", 12: "uint64", 15: "uint32", 16: "uint16", 17: "int4", 18: "bfloat16"}
_SMALLEST_TABLE = 8  # bytes: the offset that leads to it, and its own to its fields

# Fields by number: for a vector of numbers the bytes of each, of tables what those hold; for a table a tuple of that.
_TENSOR: dict[int, Any] = {0: 4, 6: ({0: 4, 1: 4, 2: {}},), 7: 4, 9: {0: 4}}  # shape, sparsity, signature, variants
_OPERATOR = {1: 4, 2: 4, 5: 1, 7: 1, 8: 4}  # inputs, outputs, custom options, variables that it changes, intermediates
_MODEL: dict[int, Any] = {
    1: {},  # operator codes
    2: {0: _TENSOR, 1: 4, 2: 4, 3: _OPERATOR},  # subgraphs: tensors, inputs, outputs, operators
    4: {0: 1},  # buffers: data
    5: 4,
    6: {},  # metadata
    7: {0: {}, 1: {}},  # signatures: inputs, outputs
    8: {},
    9: {},
}


class FlatBuffer:
    """A flatbuffer in the hands of somebody who trusts none of its numbers.

    Args:
        data: the bytes.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._left = len(data)

    def number(self, layout: str, position: int) -> int:
        """The number at a position, `layout` as in `struct`."""
        if not 0 <= position <= len(self.data) - struct.calcsize(layout):
            raise CorruptFileError("it points outside of itself, so it is cut off or damaged")
        return struct.unpack_from(layout, self.data, position)[0]

    def follow(self, position: int) -> int:
        """Where the offset at a position leads."""
        return position + self.number("<I", position)

    def field(self, table: int, index: int) -> int:
        """Where the field of a table is, 0 if it has its default."""
        offsets = table - self.number("<i", table)
        slot = 4 + 2 * index
        offset = self.number("<H", offsets + slot) if slot < self.number("<H", offsets) else 0
        return table + offset if offset else 0

    def scalar(self, table: int, index: int, layout: str) -> int:
        """A field that is a number, 0 by default."""
        position = self.field(table, index)
        return self.number(layout, position) if position else 0

    def vector(self, table: int, index: int, width: int) -> tuple[int, int]:
        """Start and length of a field that is a vector of elements of `width` bytes."""
        position = self.field(table, index)
        if not position:
            return 0, 0
        start = self.follow(position)
        length = self.number("<I", start)
        if start + 4 + length * width > len(self.data):
            raise CorruptFileError(f"it claims {length * width:,} bytes where {len(self.data) - start - 4:,} are left")
        return start + 4, length

    def tables(self, table: int, index: int) -> Iterator[int]:
        """Where each table of a field is that is a vector of tables."""
        start, length = self.vector(table, index, 4)
        self.spend(length * _SMALLEST_TABLE)
        return (self.follow(start + 4 * position) for position in range(length))

    def spend(self, size_bytes: int) -> None:
        """Counts bytes that something claims; together no more than there are."""
        self._left -= size_bytes
        if self._left < 0:
            raise CorruptFileError("its parts claim more bytes than it has, so it is damaged")


def require_tree(data: memoryview) -> None:
    """Raises unless a LiteRT file is small enough to be unpacked: its vectors all together fit into it.

    Args:
        data: the bytes of the file.

    Raises:
        CorruptFileError: if it is no LiteRT model, points outside of itself, or claims more than it has.
    """
    flat = opened(data)
    _count(flat, flat.follow(0), _MODEL)


def _count(flat: FlatBuffer, table: int, fields: dict[int, Any]) -> None:
    for index, inside in fields.items():
        if isinstance(inside, int):
            flat.spend(flat.vector(table, index, inside)[1] * inside)
        elif isinstance(inside, dict):
            for one in flat.tables(table, index):
                _count(flat, one, inside)
        elif position := flat.field(table, index):
            _count(flat, flat.follow(position), *inside)


def opened(data: memoryview) -> FlatBuffer:
    """The flatbuffer of a LiteRT model.

    Raises:
        CorruptFileError: if it does not begin like one.
    """
    if bytes(data[4:8]) != b"TFL3":
        raise CorruptFileError("it does not begin like a LiteRT model (TFL3)")
    return FlatBuffer(data)


def read_tflite(path: Path) -> list[StoredTensor]:
    """The constant tensors of a LiteRT file.

    Raises:
        CorruptFileError: if the file is no LiteRT model, or damaged.
    """
    return collected(_constants(opened(mapped(path))))


def _constants(flat: FlatBuffer) -> Iterator[StoredTensor]:
    data, model = flat.data, flat.follow(0)
    dtypes = {}  # number of a buffer -> dtype; buffers that no tensor uses hold metadata
    for subgraph in flat.tables(model, 2):
        for tensor in flat.tables(subgraph, 0):
            dtypes[flat.scalar(tensor, 2, "<I")] = _DTYPES.get(flat.scalar(tensor, 1, "<b"), "other")
    digests: dict[tuple[int, int], Any] = {}  # buffers of equal content may lie in one place
    for number, buffer in enumerate(flat.tables(model, 4)):
        start, length = flat.vector(buffer, 0, 1)
        if not length and flat.scalar(buffer, 1, "<Q") > 1:  # files above 2 GB keep their buffers behind the flatbuffer
            start, length = flat.scalar(buffer, 1, "<Q"), flat.scalar(buffer, 2, "<Q")
            if start + length > len(data):
                raise CorruptFileError(f"it claims {length:,} bytes where {max(len(data) - start, 0):,} are left")
        if length and number in dtypes:
            if (start, length) not in digests:
                flat.spend(length)
                digests[start, length] = digest(data[start : start + length])
            yield StoredTensor(length, dtypes[number], content=digests[start, length])
