"""LiteRT: `.tflite` files."""

from segopt_callbacks.export.litert import ai_edge, schema
from segopt_callbacks.export.litert.converter import target

__all__ = ["ai_edge", "schema", "target"]
