"""LiteRT: `.tflite` files."""

from segopt_callbacks.export.litert import ai_edge, schema
from segopt_callbacks.export.litert.converter import target
from segopt_callbacks.export.litert.rounding import merge_rounded

__all__ = ["ai_edge", "merge_rounded", "schema", "target"]
