"""Python objects of a `.tflite` file -> its flatbuffer, tensor data aligned, and copied twice at most."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FILE_IDENTIFIER = b"TFL3"
LARGEST_FLATBUFFER = (1 << 31) - 1  # its offsets have 32 bits, one of them for the sign
ALIGNMENT = 16  # bytes, of tensor data; the schema's `force_align`
_SPARE = 1 << 20  # bytes, for everything but data


def pack(model: Any) -> bytes:
    """The file's bytes of a `schema.ModelT`; the other way round of `schema.unpack`."""
    # Room that is not written to costs no memory; a builder without it is copied each time that it grows.
    known = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(min(2 * known + _SPARE, LARGEST_FLATBUFFER))
    packed, model.buffers = model.buffers, [_Aligned(buffer) for buffer in model.buffers]
    try:
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    finally:
        model.buffers = packed
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


class _Aligned:
    """A buffer that packs itself at an address from which kernels may read 32 bit integers.

    The generated code packs tensor data at any address.
    """

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer

    def Pack(self, builder: Any) -> int:
        """Writes it; returns where, as the generated `BufferT.Pack` does."""
        return _pack_aligned(self._buffer, builder)


def _pack_aligned(buffer: Any, builder: Any) -> int:
    data = None
    if buffer.data is not None:
        content = np.asarray(buffer.data, np.uint8)
        builder.StartVector(1, content.size, ALIGNMENT)
        builder.head -= content.size
        np.frombuffer(builder.Bytes, np.uint8)[builder.head : builder.head + content.size] = content
        data = builder.EndVector()
    schema.BufferStart(builder)
    if data is not None:
        schema.BufferAddData(builder, data)
    return schema.BufferEnd(builder)
