"""What TensorRT's ONNX parser and its int8 kernels ask of a file that is quantized explicitly.

Sources: [1] docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html,
[2] .../inference-library/work-quantized-types.html, [3] .../reference/onnx-opset-guide.html, [4] the table of operators
and [5] `QuantDequantLinearHelper` in github.com/onnx/onnx-tensorrt (docs/operators.md, onnxOpImporters.cpp), of
TensorRT 10.15, [6] github.com/NVIDIA/TensorRT/issues/1694 and 2380.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.export.onnx import (
    DEQUANTIZE,
    QUANTIZE,
    WEIGHTED,
    OnnxGraph,
    attribute,
    described,
    label,
    open_graph,
    stored_weights,
)

OPSETS = range(13, 25)  # [3]: 9 to 24 (25 since TensorRT 11.5); scales for each channel came with opset 13
# [4]: those marked as not supported.
_UNSUPPORTED = """
AffineGrid Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad Col2Im Compress
ConcatFromSequence ConvInteger DFT Det DynamicQuantizeLinear ImageDecoder MatMulInteger MaxRoiPool MaxUnpool
MelWeightMatrix Multinomial NegativeLogLikelihoodLoss Optional OptionalGetElement OptionalHasElement QLinearConv
QLinearMatMul RegexFullMatch SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength
SequenceMap SoftmaxCrossEntropyLoss SplitToSequence StringConcat StringNormalizer StringSplit TfIdfVectorizer Unique
"""
UNSUPPORTED = frozenset(_UNSUPPORTED.split())
RESIZE_MODES = (b"nearest", b"linear")  # [4]
RESIZE_COORDINATES = (b"half_pixel", b"pytorch_half_pixel", b"tf_half_pixel_for_nn", b"asymmetric", b"align_corners")


def check_for_tensorrt(path: Path) -> list[str]:
    """Reads a file as TensorRT would.

    Args:
        path: an ONNX file with QuantizeLinear and DequantizeLinear.

    Returns:
        what breaks a rule, each with the place; empty for a file that TensorRT 10 and 11 take.

    Raises:
        FormatError: if it is no ONNX model.
    """
    graph = open_graph(path)
    return [broken for rule in RULES for broken in rule(graph)]


def opset_and_operators(graph: OnnxGraph) -> Iterator[str]:
    """[3], [4]: an opset that the parser knows, and operators of ONNX that it knows."""
    opset = next((one.version for one in graph.model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        yield f"the opset is {opset}, and must be {OPSETS.start} to {OPSETS.stop - 1}"
    for node in graph.nodes:
        if node.domain not in ("", "ai.onnx"):
            yield f"{label(node)} is of the domain {node.domain!r}, not of ONNX"
        elif node.op_type in UNSUPPORTED:
            yield f"{label(node)} is not supported"


def resizing(graph: OnnxGraph) -> Iterator[str]:
    """[4]: nearest and linear interpolation, without antialiasing, and the usual coordinates."""
    for node in graph.nodes:
        if node.op_type == "Resize":
            mode = attribute(node, "mode", b"nearest")
            coordinates = attribute(node, "coordinate_transformation_mode", b"half_pixel")
            if mode not in RESIZE_MODES or coordinates not in RESIZE_COORDINATES or attribute(node, "antialias", 0):
                yield f"{label(node)} resizes by {mode.decode()}, {coordinates.decode()}, which is not supported"


def symmetric_int8(graph: OnnxGraph) -> Iterator[str]:
    """[2], [5]: int8 alone (neither uint8 nor an int32 bias), all zero points 0, all scales constant and above 0."""
    for node in _quantizing(graph):
        scale = graph.constant(node.input[1])
        zero_point = graph.constant(node.input[2]) if len(node.input) > 2 else None
        if zero_point is None:
            yield f"{label(node)} has no constant zero point, which tells its dtype"
        elif zero_point.dtype != np.int8:
            yield f"{label(node)} quantizes to {zero_point.dtype.name}, not int8"
        elif zero_point.any():
            yield f"{label(node)} has a zero point that is not 0"
        if scale is None or not (scale > 0).all():
            yield f"{label(node)} has a scale that is not constant and above 0"


def nothing_between(graph: OnnxGraph) -> Iterator[str]:
    """[1], [4]: int8 goes from QuantizeLinear, or a constant, to DequantizeLinear; no operator takes it."""
    for node in _quantizing(graph):
        if node.op_type == QUANTIZE:
            others = [one for one in graph.consumers.get(node.output[0], []) if one.op_type != DEQUANTIZE]
            if others or node.output[0] in graph.output_names:
                yield f"{label(node)} is read by {', '.join(map(label, others)) or 'the caller'}, not DequantizeLinear"
        elif node.input[0] not in graph.constants and not graph.producer(node.input[0], QUANTIZE):
            yield f"{label(node)} dequantizes what no QuantizeLinear has made"


def raw_bytes(graph: OnnxGraph) -> Iterator[str]:
    """[4]: uint8 is for inputs and outputs of the network only; a Cast follows."""
    for info in graph.model.graph.input:
        if described(info)["dtype"] == "uint8":
            others = [one for one in graph.consumers.get(info.name, []) if one.op_type != "Cast"]
            if others:
                yield f"the uint8 input {info.name!r} is read by {', '.join(map(label, others))}; cast it first"
    for node in graph.nodes:
        if node.op_type == "Cast" and attribute(node, "to", 0) == 2 and node.output[0] not in graph.output_names:
            yield f"{label(node)} casts to uint8 inside the network"


def scales(graph: OnnxGraph) -> Iterator[str]:
    """[1]: one scale for an activation, one for each output channel of a weight; [6]: one for a transposed convolution.

    (TensorRT's kernels for these take one for each *input* channel, and gave wrong answers for output channels.)
    """
    for node in _quantizing(graph):
        scale = graph.constant(node.input[1])
        is_activation = node.op_type == QUANTIZE and node.input[0] not in graph.constants
        if is_activation and scale is not None and scale.size != 1:
            yield f"{label(node)} has {scale.size} scales for an activation"
    for weight in stored_weights(graph):
        if weight.values.dtype != np.int8 or weight.node.op_type not in WEIGHTED:
            continue
        has_many = weight.has_scale_per_channel and weight.node.op_type != "ConvTranspose"
        expected = weight.values.shape[weight.channel_axis] if has_many else 1
        axis = _axis(graph, weight)
        if weight.scales.size != expected or (has_many and axis != weight.channel_axis):
            yield (
                f"{label(weight.node)} has {weight.scales.size} scales along axis {axis} for a weight of shape "
                f"{weight.values.shape}, and must have {expected}"
                + (f" along axis {weight.channel_axis}" if has_many else "")
            )


RULES: tuple[Callable[[OnnxGraph], Iterator[str]], ...] = (
    opset_and_operators,
    resizing,
    symmetric_int8,
    nothing_between,
    raw_bytes,
    scales,
)


def _quantizing(graph: OnnxGraph) -> list[Any]:
    return [node for node in graph.nodes if node.op_type in (QUANTIZE, DEQUANTIZE)]


def _axis(graph: OnnxGraph, weight: Any) -> int:
    users = graph.consumers[weight.name]
    axis = next((attribute(one, "axis", 1) for one in users if one.op_type == DEQUANTIZE), 1)
    return int(axis % weight.values.ndim)
