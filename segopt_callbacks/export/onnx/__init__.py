"""ONNX files."""

from segopt_callbacks.export.onnx import audit, graph, int8
from segopt_callbacks.export.onnx.audit import DEQUANTIZE, QUANTIZE, WEIGHTED, stored_weights
from segopt_callbacks.export.onnx.converter import REQUIRES, TARGET, load, onnx_source
from segopt_callbacks.export.onnx.graph import OnnxGraph, attribute, described, label, open_graph

__all__ = [
    "DEQUANTIZE",
    "QUANTIZE",
    "REQUIRES",
    "TARGET",
    "WEIGHTED",
    "OnnxGraph",
    "attribute",
    "audit",
    "described",
    "graph",
    "int8",
    "label",
    "load",
    "onnx_source",
    "open_graph",
    "stored_weights",
]
