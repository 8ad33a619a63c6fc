"""tflite-micro: `.tflite` files for microcontrollers."""

from segopt_callbacks.export.tflm import raw_bytes, tables
from segopt_callbacks.export.tflm.converter import TARGET, micro_content

__all__ = ["TARGET", "micro_content", "raw_bytes", "tables"]
