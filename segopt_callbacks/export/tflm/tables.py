"""Weights of few values for tflite-micro: a table of values for each output channel, and an index for each weight.

That is the compression of tflite-micro's own package, whose DECODE makes the weights of one operation whenever it runs.
A table for a whole kernel would save a few bytes for each channel. But the interpreter of the package decodes garbage
from one (`PerTensor`, seen in 0.dev20261023182759), and the very same weights from one for each channel (`PerChannel`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError, damage_is_named, first_line
from segopt_callbacks.export import audit
from segopt_callbacks.export.litert import encoding, flatbuffer, schema
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.tflm import converter, interpreter

MOST_BITS = 7  # of an index
OPERATOR_BYTES = 400  # of the file, about: a DECODE and its tensors
DECODE, HEADER = "TFLM_DECODE", 16  # bytes of a table's header; byte 5 is axis and bits, byte 6 values of a channel


def write(source: Source, path: Path) -> None:
    """Writes the file, and runs it beside the one without tables: answers must be the very same.

    Args:
        source: the function to convert, and representative inputs.
        path: the file to write.

    Raises:
        FormatError: if no weight is smaller with a table, or as of `converter.write`.
    """
    content, notes = converter.micro_content(source)
    plain = path.with_name(f"{path.name}.plain")
    plain.write_bytes(content)
    path.write_bytes(with_tables(content))
    encoding.require_alike(interpreter.load, plain, path, source)
    encoding.write_notes(path, {**notes, "encoding": "tables", "bytes without tables": plain.stat().st_size})
    plain.unlink()


def with_tables(content: bytes) -> bytes:
    """The same file with those weights in tables that take fewer bytes so.

    Args:
        content: a dense int8 `.tflite` file.

    Raises:
        FormatError: if there are none.
    """
    from tflite_micro import compression
    from tflite_micro.tensorflow.lite.micro.compression import spec

    model = schema.unpack(content)
    wanted = [
        spec.Tensor(number, index, [spec.LookUpTableCompression(bits, spec.PerChannel(axis))])
        for number, graph in enumerate(model.subgraphs)
        for index, name in flatbuffer.kernels(model, graph).items()
        for axis in [flatbuffer.WEIGHT_OPERATORS[name]]
        for bits in [_bits(schema.values(model, graph.tensors[index]), axis)]
        if bits
    ]
    if not wanted:
        raise FormatError("no weight is smaller with a table of its values; cluster weights, or export 'tflm_int8'")
    try:
        return bytes(compression.compress(content, wanted))
    except Exception as error:  # CompressionError, or whatever its flatbuffers stumble over
        raise FormatError(f"tflite-micro's compression refuses the file: {first_line(error)}") from error


def without_tables(content: bytes) -> bytes:
    """The other way round of `with_tables`: the weights dense again, read from their tables."""
    model = schema.unpack(content)
    for graph in model.subgraphs:
        decoding = [one for one in graph.operators if _is_decode(model, one)]
        for operator in decoding:
            pairs = zip(operator.inputs[::2], operator.inputs[1::2], operator.outputs, strict=True)
            for indices, table, decoded in pairs:
                packed, tables = (schema.constant(model, graph.tensors[one]) for one in (indices, table))
                tensor = graph.tensors[decoded]
                schema.set_constant(model, tensor, decode(packed, tables, tuple(map(int, tensor.shape))))
        graph.operators = [one for one in graph.operators if not any(one is other for other in decoding)]
    return schema.pack(model)


def decode(packed: Any, tables: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The weights.

    Args:
        packed: bytes of indices, the highest bit first.
        tables: bytes of a header and the values of each channel.
        shape: of the weights.

    Returns:
        int8 array of that shape.

    Example:
        >>> header = np.array([0, 1, 0, 0, 1, 0x01, 2, *9 * [0]], np.uint8)
        >>> decode(np.array([0b01100000], np.uint8), np.append(header, [3, 4, 5, 6]), (2, 2)).tolist()
        [[3, 4], [6, 5]]
    """
    axis, bits, stride = int(tables[5]) >> 4, int(tables[5]) & 7, int(tables[6])
    ones = np.unpackbits(packed)[: int(np.prod(shape)) * bits].reshape(-1, bits)
    indices = (ones @ (1 << np.arange(bits)[::-1])).reshape(shape)
    values = np.asarray(tables[HEADER:], np.uint8).view(np.int8).reshape(-1, stride)
    channels = np.arange(shape[axis]).reshape([-1 if one == axis else 1 for one in range(len(shape))])
    return values[channels, indices]


@damage_is_named("auditing it")
def read_weights(path: Path, weights: Any) -> list[dict[str, Any]]:
    """The rows of a file's weight audit, see `audit.weight_row`; weights as they come out of their tables."""
    return audit.weight_rows(flatbuffer.stored_weights(without_tables(path.read_bytes())), weights)


def _bits(values: np.ndarray | None, axis: int) -> int:
    """Bits of an index; 0 where a table does not pay, or tflite-micro has none along that axis."""
    if values is None or values.dtype != np.int8 or axis not in (0, values.ndim - 1):
        return 0
    channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    most = max(np.unique(one).size for one in channels)
    bits = max(int(most - 1).bit_length(), 1)
    size = values.size * bits / 8 + len(channels) * most + OPERATOR_BYTES
    return bits if bits <= MOST_BITS and size < values.size else 0


def _is_decode(model: Any, operator: Any) -> bool:
    code = model.operatorCodes[operator.opcodeIndex].customCode
    return code is not None and schema.text(code) == DECODE


TARGET = replace(
    converter.TARGET, file_name="tflm_lut.tflite", write=write, read_weights=read_weights, bytes_per_weight=1 / 8
)
