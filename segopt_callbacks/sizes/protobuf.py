"""What is inside a SavedModel and an `.onnx`: protocol buffers and checkpoints, read without TensorFlow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path

from segopt_callbacks.sizes.readers import (
    SMALL,
    CorruptFileError,
    StoredTensor,
    collected,
    digest,
    is_optimizer,
    mapped,
)

_MOST_NESTED = 32  # graphs in graphs in an ONNX file
_LONGEST_NAME = 200  # characters that an error shows
_LONGEST_KEY = 1 << 16  # bytes of a variable's name; each entry of the index may repeat the one before it

# The numbers that each format gives to its dtypes.
_TENSORFLOW = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 9: "int64"}
_TENSORFLOW |= {10: "bool", 14: "bfloat16", 17: "uint16", 19: "float16", 22: "uint32", 23: "uint64"}
_ONNX = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool"}
_ONNX |= {10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 21: "uint4", 22: "int4"}


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise CorruptFileError("the file is cut off in a number")
        byte = data[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value, position
    raise CorruptFileError("it holds a number of more than 64 bits")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Field number and bytes of each field of a message; a number's bytes are as they are stored."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire_type, start = tag & 7, position
        if tag < 8:
            raise CorruptFileError("it holds a field without a number")
        if wire_type == 0:
            _, end = _varint(data, position)
        elif wire_type in (1, 5):
            end = start + (8 if wire_type == 1 else 4)
        elif wire_type == 2:
            length, start = _varint(data, position)
            end = start + length
        else:
            raise CorruptFileError(f"it holds a field of the unknown wire type {wire_type}")
        if end > len(data):
            raise CorruptFileError(f"a field claims {end - start:,} bytes where {len(data) - start:,} are left")
        yield tag >> 3, data[start:end]
        position = end


def children(data: memoryview, *numbers: int) -> Iterator[memoryview]:
    """The messages that lie at the end of the given way of field numbers."""
    for number, value in _fields(data):
        if number == numbers[0]:
            if len(numbers) == 1:
                yield value
            else:
                yield from children(value, *numbers[1:])


def _number(data: memoryview, field: int) -> int:
    return next((_varint(value, 0)[0] for number, value in _fields(data) if number == field), 0)


def _proto_tensor(data: memoryview, dtype_field: int, dtypes: dict[int, str], values: Container[int]) -> StoredTensor:
    size, parts, last = 0, 0, data[:0]
    for number, value in _fields(data):
        if number in values:
            size, parts, last = size + len(value), parts + 1, value
    content = digest(last) if parts == 1 else None
    return StoredTensor(size, dtypes.get(_number(data, dtype_field), "other"), content=content)


def read_saved_model_pb(path: Path) -> tuple[list[StoredTensor], int]:
    """The constants in a `saved_model.pb`, and how many variables its graph reads.

    Raises:
        CorruptFileError: if the file is not such a graph.
    """
    counts: Counter[str] = Counter()
    tensors = collected(_constants(mapped(path), counts))
    if not counts["graphs"]:
        raise CorruptFileError("it holds no graph, so it is no SavedModel")
    return tensors, counts["variables"]


def _constants(data: memoryview, counts: Counter[str]) -> Iterator[StoredTensor]:
    for graph in children(data, 2, 2):  # SavedModel.meta_graphs.graph_def
        counts["graphs"] += 1
        for way in ((1,), (2, 1, 3)):  # GraphDef.node and GraphDef.library.function.node_def
            for node in children(graph, *way):
                operation = next(children(node, 2), b"")
                counts["variables"] += operation == b"VarHandleOp"
                if operation == b"Const":
                    for constant in children(node, 5, 2, 8):  # attr: a map entry's value, then its tensor
                        yield _proto_tensor(constant, 1, _TENSORFLOW, range(4, 18))


def read_onnx_metadata(path: Path) -> dict[bytes, bytes]:
    """The entries of `metadata_props` of an ONNX file, key -> value, in UTF-8.

    Raises:
        CorruptFileError: if the file is not an ONNX model.
    """
    found = {}
    for entry in children(mapped(path), 14):  # ModelProto.metadata_props
        pair = {number: bytes(value) for number, value in _fields(entry)}
        found[pair.get(1, b"")] = pair.get(2, b"")
    return found


def read_onnx(path: Path) -> tuple[list[StoredTensor], list[Path]]:
    """The initializers and constants of an ONNX file, and the files beside it that hold some of them.

    Raises:
        CorruptFileError: if the file is not an ONNX model, or a file beside it is missing.
    """
    beside: dict[Path, None] = {}
    counts: Counter[str] = Counter()
    tensors = collected(_initializers(path, beside, counts))
    if not counts["graphs"]:
        raise CorruptFileError("it holds no graph, so it is no ONNX model")
    return tensors + [StoredTensor(file.stat().st_size, "external") for file in beside], list(beside)


def _initializers(path: Path, beside: dict[Path, None], counts: Counter[str]) -> Iterator[StoredTensor]:
    for graph in children(mapped(path), 7):
        counts["graphs"] += 1
        for tensor in _onnx_tensors(graph, 0):
            for entry in children(tensor, 13):  # external_data
                if next(children(entry, 1), b"") == b"location":
                    name = bytes(next(children(entry, 2), memoryview(b""))).decode(errors="replace")
                    if name != Path(name).name or not (path.parent / name).is_file():
                        raise CorruptFileError(f"its weights are in {_brief(name)!r}, which is not beside it")
                    beside[path.parent / name] = None
            yield _proto_tensor(tensor, 2, _ONNX, {4, 5, 6, 7, 9, 10, 11})


def _brief(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def _onnx_tensors(graph: memoryview, depth: int) -> Iterator[memoryview]:
    if depth > _MOST_NESTED:
        raise CorruptFileError(f"its graphs are nested more than {_MOST_NESTED} deep")
    yield from children(graph, 5)  # initializer
    for sparse in children(graph, 15):
        yield from children(sparse, 1)
        yield from children(sparse, 2)
    for attribute in children(graph, 1, 5):  # node.attribute: tensors and graphs, single and repeated
        for number, value in _fields(attribute):
            if number in (5, 10):
                yield value
            elif number in (6, 11):
                yield from _onnx_tensors(value, depth + 1)


# --- the checkpoint of a SavedModel: a sorted table of keys, and shards of bytes -------------------------------------


def read_checkpoint(prefix: Path) -> list[StoredTensor]:
    """The variables of a TensorFlow checkpoint.

    Args:
        prefix: such as `saved_model/variables/variables`; `.index` and `.data-*` are appended.

    Raises:
        CorruptFileError: if the index is broken, or the shards hold less than it claims.
    """
    return collected(_variables(prefix))


def _variables(prefix: Path) -> Iterator[StoredTensor]:
    shards = {
        int(match[1]): file.stat().st_size
        for file in prefix.parent.glob(f"{prefix.name}.data-*")
        if (match := re.fullmatch(r".*\.data-([0-9]{5})-of-[0-9]{5}", file.name))
    }
    for key, value in _table(mapped(prefix.with_name(prefix.name + ".index"))):
        shard, offset, size = (_number(value, field) for field in (3, 4, 5))
        if not key or not size:
            continue  # the header, or a variable whose slices follow
        if offset + size > shards.get(shard, 0):
            raise CorruptFileError(
                f"variables/ claims {offset + size:,} bytes where shard {shard} has {shards.get(shard, 0):,}"
            )
        dtype = _TENSORFLOW.get(_number(value, 1), "other")
        checksum = next((bytes(crc) for number, crc in _fields(value) if number == 6), b"")
        content = (checksum, size, dtype) if size >= SMALL else None
        if dtype != "string":  # the object graph, which says what belongs where
            yield StoredTensor(size, dtype, is_optimizer(key.decode(errors="replace")), content)


def _table(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values of a LevelDB table, the format of a checkpoint's index."""
    if len(data) < 48 or bytes(data[-8:]) != 0xDB4775248B80FB57.to_bytes(8, "little"):
        raise CorruptFileError("variables.index is no checkpoint index, or cut off")
    footer = data[-48:]
    position = _varint(footer, _varint(footer, 0)[1])[1]  # behind the handle of the meta index
    left = len(data)  # blocks are read once each, so all of them together are no larger than the file
    for _, handle in _block(data, footer[position:]):
        left -= _handle(handle)[1]
        if left < 0:
            raise CorruptFileError("variables.index has blocks that overlap")
        yield from _block(data, handle)


def _handle(handle: memoryview) -> tuple[int, int]:
    """Where a block begins, and its bytes."""
    offset, position = _varint(handle, 0)
    return offset, _varint(handle, position)[0]


def _block(data: memoryview, handle: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    offset, size = _handle(handle)
    if offset + size >= len(data) or size < 4 or data[offset + size] != 0:
        raise CorruptFileError("variables.index has a block that is cut off or compressed")
    block = data[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    key, position = b"", 0
    while position < size - 4 - 4 * restarts:
        shared, position = _varint(block, position)
        fresh, position = _varint(block, position)
        length, position = _varint(block, position)
        if shared > len(key) or position + fresh + length > size or shared + fresh > _LONGEST_KEY:
            raise CorruptFileError("variables.index has an entry that is cut off")
        key = key[:shared] + bytes(block[position : position + fresh])
        yield key, block[position + fresh : position + fresh + length]
        position += fresh + length
