"""The flatbuffer of a `.tflite` file <-> Python objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from segopt_callbacks.errors import FormatError, damage_is_named
from segopt_callbacks.export.litert import sparse
from segopt_callbacks.export.litert.packing import FILE_IDENTIFIER, LARGEST_FLATBUFFER
from segopt_callbacks.export.litert.packing import pack as pack
from segopt_callbacks.sizes import CorruptFileError, require_tree

COPIED_BYTES = 1 << 20
DTYPES = {
    "FLOAT32": "float32",
    "FLOAT16": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT16": "int16",
    "INT4": "int8",
}


class _Content(bytearray):
    """Bytes of a file, or room for as many, that hand out copies of their parts up to their own length, and some more.

    Names are shared, which is what the rest is for. Every table may claim the whole file as its name.
    """

    def __init__(self, content: bytes | int) -> None:
        super().__init__(content)
        self._left = len(self) + COPIED_BYTES

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
        stream.seek(0)
        content = _Content(size)  # into its place: a large file is never in memory twice
        stream.readinto(content)
    return _unpacked(content)


def unpack(content: bytes) -> Any:
    """The `schema.ModelT` of a file's bytes; tensor data are NumPy arrays of uint8.

    The generated code believes every number in the file. So they are counted first, and memory stays a small multiple
    of the file's bytes whatever it holds.

    Args:
        content: of a `.tflite` file, or of one that claims to be that.

    Raises:
        FormatError: if it is damaged.
    """
    return _unpacked(_Content(content))


def _unpacked(content: _Content) -> Any:
    try:
        require_tree(memoryview(content))
    except CorruptFileError as error:
        raise FormatError(str(error)) from error
    with damage_is_named("reading its tables"):
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        for buffer in model.buffers:
            if buffer.offset > 1:  # the data stand behind the flatbuffer, as ai-edge-quantizer writes large ones
                buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
    return model


def operator_name(model: Any, operator: Any) -> str:
    """Such as `CONV_2D`."""
    code = model.operatorCodes[operator.opcodeIndex]
    return OPERATOR_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def type_name(tensor: Any) -> str:
    """Such as `FLOAT32`."""
    return TYPE_NAMES[tensor.type]


def type_number(name: str) -> int:
    """The other way round of `type_name`."""
    return getattr(schema.TensorType, name)


def tensor_name(tensor: Any) -> str:
    """The converter's name for it."""
    return text(tensor.name)


def text(value: Any) -> str:
    """A string of the file, which the generated code leaves in bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def get_metadata(model: Any, name: str) -> bytes | None:
    """The content of a named metadata buffer; `None` where there is none."""
    for one in model.metadata or []:
        if text(one.name) == name and 0 <= one.buffer < len(model.buffers):
            data = model.buffers[one.buffer].data
            return None if data is None else np.asarray(data, np.uint8).tobytes()
    return None


def set_metadata(model: Any, name: str, content: bytes) -> None:
    """Adds a named metadata buffer, which every LiteRT runtime leaves alone."""
    data = np.frombuffer(content, np.uint8)
    model.buffers.append(schema.BufferT(data=data))
    model.metadata = [*(model.metadata or []), schema.MetadataT(name=name, buffer=len(model.buffers) - 1)]


def constant(model: Any, tensor: Any) -> np.ndarray | None:
    """The tensor's stored bytes as uint8; `None` for what is computed."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or len(data) == 0 else np.asarray(data, np.uint8)


def values(model: Any, tensor: Any) -> np.ndarray | None:
    """The numbers of a constant in its shape, integer codes where quantized; `None` where nothing can tell.

    4-bit integers come as int8, sparse tensors dense.
    """
    dtype, content = DTYPES.get(type_name(tensor)), constant(model, tensor)
    if dtype is None or content is None or tensor.shape is None:
        return None
    if tensor.sparsity is not None:
        return sparse.dense(content.view(dtype), tensor.shape, tensor.sparsity)
    if type_name(tensor) == "INT4":
        content = nibbles(content)[: np.prod(tensor.shape, dtype=int)]
    return content.view(dtype).reshape(tensor.shape)


def nibbles(content: np.ndarray) -> np.ndarray:
    """Signed 4-bit integers, two in each byte, the lower one first -> int8.

    Example:
        >>> nibbles(np.array([0xF1, 0x87], np.uint8)).tolist()
        [1, -1, 7, -8]
    """
    pairs = np.stack([content << 4, content & 0xF0], axis=-1).view(np.int8)
    return (pairs >> 4).ravel()  # of signed integers, it copies the sign


def unit_quantization(zero_point: int = 0) -> Any:
    """Scale 1: what raw integers are quantized by."""
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [1.0], [zero_point]
    return quantization


def operator(model: Any, name: str, inputs: list[int], outputs: list[int]) -> Any:
    """A new operator without options, such as `DENSIFY`; its code is added to the model."""
    return schema.OperatorT(opcodeIndex=operator_code(model, name), inputs=inputs, outputs=outputs)


def operator_code(model: Any, name: str) -> int:
    """The index by which a model's operators tell that they are this builtin; it is added where there is none yet."""
    for index, code in enumerate(model.operatorCodes):
        if OPERATOR_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)] == name:
            return index
    number = getattr(schema.BuiltinOperator, name)
    model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=min(number, 127), builtinCode=number))
    return len(model.operatorCodes) - 1


def computed_like(tensor: Any, name: str) -> Any:
    """A new tensor of the same shape, dtype and quantization that holds no data."""
    return schema.TensorT(
        shape=tensor.shape, type=tensor.type, name=name, quantization=tensor.quantization, hasRank=tensor.hasRank
    )


def add_constant(model: Any, graph: Any, values: np.ndarray, kind: str, name: str) -> int:
    """A new constant tensor of a type, such as `INT32`; returns its index."""
    tensor = schema.TensorT(shape=list(values.shape), type=type_number(kind), name=name, hasRank=True)
    set_constant(model, tensor, values)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def set_constant(model: Any, tensor: Any, values: np.ndarray) -> None:
    """Gives a tensor its data, in a buffer of its own."""
    model.buffers.append(schema.BufferT(data=np.ascontiguousarray(values).view(np.uint8).ravel()))
    tensor.buffer = len(model.buffers) - 1


def addition(model: Any, inputs: list[int], outputs: list[int]) -> Any:
    """A new ADD, which must have its options."""
    made = operator(model, "ADD", inputs, outputs)
    made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    return made


def _names(enum: Any) -> Iterator[tuple[int, str]]:
    return ((value, name) for name, value in vars(enum).items() if isinstance(value, int))


OPERATOR_NAMES = dict(_names(schema.BuiltinOperator))
TYPE_NAMES = dict(_names(schema.TensorType))
