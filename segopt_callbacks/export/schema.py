"""The flatbuffer of a `.tflite` file <-> Python objects."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FILE_IDENTIFIER = b"TFL3"
ALIGNMENT = 16  # bytes, of tensor data; the schema's `force_align`


def unpack(content: bytes) -> Any:
    """The `schema.ModelT` of a file's bytes; tensor data are NumPy arrays of uint8."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


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
