"""LiteRT: `.tflite` files."""

from segopt_callbacks.export.litert import ai_edge, converter, encoding, flatbuffer, interpreter, raw_inputs, schema
from segopt_callbacks.export.litert.converter import target

__all__ = ["ai_edge", "converter", "encoding", "flatbuffer", "interpreter", "raw_inputs", "schema", "target"]
