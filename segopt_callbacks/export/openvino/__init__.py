"""OpenVINO files."""

from segopt_callbacks.export.openvino.converter import TARGET

__all__ = ["TARGET"]
