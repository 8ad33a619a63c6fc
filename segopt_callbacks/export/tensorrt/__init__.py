"""TensorRT engines."""

from segopt_callbacks.export.tensorrt.converter import TARGET

__all__ = ["TARGET"]
