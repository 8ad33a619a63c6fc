"""The flatbuffer of a `.tflite` file <-> Python objects."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from segopt_callbacks.export.errors import FormatError, damage_is_named
from segopt_callbacks.sizes.flatbuffer import require_tree
from segopt_callbacks.sizes.readers import CorruptFileError

FILE_IDENTIFIER = b"TFL3"
LARGEST_FLATBUFFER = (1 << 31) - 1  # its offsets have 32 bits, one of them for the sign
COPIED_BYTES = 1 << 20
ALIGNMENT = 16  # bytes, of tensor data; the schema's `force_align`


class _Content(bytes):
    """Bytes that hand out copies of their parts up to their own length, and some for names that are shared.

    Every table may claim the whole file as its name.
    """

    def __init__(self, content: bytes) -> None:
        self._left = len(content) + COPIED_BYTES

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        if isinstance(index, slice):
            self._left -= len(part)
            if self._left < 0:
                raise FormatError("its names claim more bytes than it has, so it is damaged")
        return part


def read(path: Path) -> Any:
    """The `schema.ModelT` of a file, see `unpack`.

    Raises:
        FormatError: if it is damaged, or larger than a flatbuffer can be.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size > LARGEST_FLATBUFFER or stream.read(8)[4:] != FILE_IDENTIFIER:
            raise FormatError(f"it does not begin like a LiteRT model (TFL3), or is too large for one: {size:,} bytes")
    return unpack(path.read_bytes())


def unpack(content: bytes) -> Any:
    """The `schema.ModelT` of a file's bytes; tensor data are NumPy arrays of uint8.

    The generated code believes every number in the file. So they are counted first, and memory stays a small multiple
    of the file's bytes whatever it holds.

    Args:
        content: of a `.tflite` file, or of one that claims to be that.

    Raises:
        FormatError: if it is damaged.
    """
    try:
        require_tree(memoryview(content))
    except CorruptFileError as error:
        raise FormatError(str(error)) from error
    with damage_is_named("reading its tables"):
        return schema.ModelT.InitFromPackedBuf(_Content(content), 0)


def pack(model: Any) -> bytes:
    """The file's bytes of a `schema.ModelT`; the other way round of `unpack`."""
    for buffer in model.buffers:
        # The generated code packs tensor data at any address; kernels may read it as 32 bit integers.
        buffer.Pack = functools.partial(_pack_aligned, buffer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def operator_name(model: Any, operator: Any) -> str:
    """Such as `CONV_2D`."""
    code = model.operatorCodes[operator.opcodeIndex]
    return OPERATOR_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def type_name(tensor: Any) -> str:
    """Such as `FLOAT32`."""
    return TYPE_NAMES[tensor.type]


def tensor_name(tensor: Any) -> str:
    """The converter's name for it."""
    return tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name)


def constant(model: Any, tensor: Any) -> np.ndarray | None:
    """The tensor's stored bytes as uint8; `None` for what is computed."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or len(data) == 0 else np.asarray(data, np.uint8)


def unit_quantization() -> Any:
    """Scale 1 and zero point 0: what raw integers are quantized by."""
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [1.0], [0]
    return quantization


def _pack_aligned(buffer: Any, builder: Any) -> int:
    data = None
    if buffer.data is not None:
        content = np.asarray(buffer.data, np.uint8).tobytes()
        builder.StartVector(1, len(content), ALIGNMENT)
        builder.head -= len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        data = builder.EndVector()
    schema.BufferStart(builder)
    if data is not None:
        schema.BufferAddData(builder, data)
    return schema.BufferEnd(builder)


def _names(enum: Any) -> Iterator[tuple[int, str]]:
    return ((value, name) for name, value in vars(enum).items() if isinstance(value, int))


OPERATOR_NAMES = dict(_names(schema.BuiltinOperator))
TYPE_NAMES = dict(_names(schema.TensorType))
