"""What an OpenVINO model holds: its weights as stored, and what multiplies in float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export.audit import StoredWeight, weight_rows
from segopt_callbacks.export.openvino.ir import Layer, Model

GROUPED = ("GroupConvolution", "GroupConvolutionBackpropData")
WEIGHT_OPERATORS = ("Convolution", "ConvolutionBackpropData", *GROUPED, "MatMul")
# NNCF leaves these in float, or the weights of these are not read here.
FLOAT_OPERATORS = ("Einsum", "LSTMSequence", "GRUSequence", "RNNSequence", "LSTMCell", "GRUCell", "RNNCell")
INTEGERS = ("i8", "u8")
# What stands between a stored weight and the operator: codes become numbers.
_DECODING = ("Convert", "Subtract", "Multiply", "Reshape", "FakeQuantize")
# What moves numbers about, and the runtime moves integers so. (Not `Tile`, `SpaceToDepth` and the like: in float32.)
_MOVING = (
    *("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Split", "VariadicSplit", "StridedSlice", "Gather"),
    *("MaxPool", "Pad", "DepthToSpace"),
)


@dataclass(frozen=True)
class OpenVinoWeight(StoredWeight):
    """A constant that an operator multiplies by; output channels of groups are one axis.

    Attributes:
        input_axis: the axis of input channels.
    """

    input_axis: int

    @property
    def channels(self) -> np.ndarray:
        """The values without their zero point, `(channels, elements)`, input channels innermost as in Keras."""
        plain = self.values.astype(np.float32) - self.zero_point
        ordered = np.moveaxis(plain, (self.channel_axis, self.input_axis), (0, -1))
        return ordered.reshape(ordered.shape[0], -1)


def stored_weights(folder: Path) -> list[OpenVinoWeight]:
    """The weights of a model: constants of rank 2 or more that feed an operator of `WEIGHT_OPERATORS`."""
    model = Model(folder)
    found: dict[Layer, OpenVinoWeight] = {}
    for layer in model.layers():
        decoding = _decoding(layer.source(1)) if layer.kind in WEIGHT_OPERATORS else []
        constant = decoding[-1] if decoding else None
        if constant is not None and constant not in found:
            found[constant] = _stored(model, layer, decoding)
    return [weight for weight in found.values() if weight.values.ndim >= 2]


def read_weights(folder: Path, weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The rows of a model's weight audit, see `audit.weight_row`.

    Args:
        folder: holds `model.xml` and `model.bin`.
        weights: path -> value, the model's own weights; rows are named by those they come from.

    Raises:
        FormatError: if a weight is outside of what its dtype can hold.
    """
    return weight_rows(stored_weights(folder), weights)


def float_operations(folder: Path) -> list[str]:
    """What multiplies by weights, or matrices with each other, in float, as `KIND (name)`.

    OpenVINO computes in integers where weights are stored as integers and what they are multiplied by is quantized
    right before. What lies between such operations (additions, activations, resizing) it computes in either, as its
    runtime finds best.
    """
    return [f"{layer.kind} ({layer.name})" for layer in Model(folder).layers() if _is_float(layer)]


def _stored(model: Model, layer: Layer, decoding: list[Layer]) -> OpenVinoWeight:
    try:
        return _decoded(model, layer, decoding)
    except (IndexError, ValueError) as error:
        raise FormatError(f"the weight of {layer.name!r} is not as OpenVINO stores it: {first_line(error)}") from error


def _decoded(model: Model, layer: Layer, decoding: list[Layer]) -> OpenVinoWeight:
    codes = model.constant(decoding[-1])
    steps = {step.kind: step for step in decoding[:-1]}
    scales = _parameter(model, steps["Multiply"]) if "Multiply" in steps else np.empty(0, np.float32)
    zero_point = _parameter(model, steps["Subtract"]) if "Subtract" in steps else np.zeros((), np.float32)
    values, channel_axis, input_axis = _arranged(layer, codes)
    if zero_point.any():
        zero_point = _arranged(layer, np.broadcast_to(zero_point, codes.shape))[0]
    dtype = str(values.dtype)
    return OpenVinoWeight(layer.name, layer.kind, dtype, values, channel_axis, scales, zero_point, input_axis)


def _arranged(layer: Layer, values: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The values in the shape that the operator reads, with its axes of output and of input channels."""
    values = values.reshape(layer.shapes[1])
    if layer.kind == "MatMul":
        return values, *((-2, -1) if layer.data.get("transpose_b") == "true" else (-1, -2))
    if layer.kind == "ConvolutionBackpropData":
        return values, 1, 0
    if layer.kind == "GroupConvolutionBackpropData":  # (groups, in, out, ...)
        values = np.moveaxis(values, 2, 1)
    if layer.kind in GROUPED:  # (groups, out, in, ...)
        values = values.reshape(-1, *values.shape[2:])
    return values, 0, 1


def _decoding(layer: Layer | None) -> list[Layer]:
    """The steps from an operator back to the constant that it multiplies by; empty if there is none."""
    steps: list[Layer] = []
    while layer is not None and layer.kind in _DECODING and layer not in steps and _has_parameters(layer):
        steps.append(layer)
        layer = layer.source(0)
    return [*steps, layer] if layer is not None and layer.kind == "Const" else []


def _has_parameters(step: Layer) -> bool:
    """Whether everything but its first input is constant (a weight times an activation is no decoding)."""
    others = (source if source.kind != "Convert" else source.source(0) for source in step.sources[1:])
    return all(source is not None and source.kind == "Const" for source in others)


def _parameter(model: Model, step: Layer) -> np.ndarray:
    """The scales or zero points that a step of `_decoding` applies."""
    decoding = _decoding(step.source(1))
    return model.constant(decoding[-1]).astype(np.float32) if decoding else np.empty(0, np.float32)


def _is_float(layer: Layer) -> bool:
    if layer.kind not in WEIGHT_OPERATORS:
        return layer.kind in FLOAT_OPERATORS
    return not (_is_quantized(layer.source(0)) and _is_quantized(layer.source(1)))


def _is_quantized(layer: Layer | None) -> bool:
    """Whether what a layer computes is integers in disguise: stored ones, or those of `FakeQuantize` moved about."""
    decoding = _decoding(layer)
    if decoding:
        return decoding[-1].data.get("element_type") in INTEGERS
    pending, seen = [layer], set()
    while pending:
        layer = pending.pop()
        if layer is None:
            return False
        if decoding := _decoding(layer):
            if decoding[-1].data.get("element_type") not in INTEGERS:  # a weight in float, rounded at each use
                return False
            continue  # a table of integers, in which pixels are looked up
        if layer in seen or layer.kind == "FakeQuantize":
            continue
        seen.add(layer)
        if layer.kind != "Concat" and layer.kind not in _MOVING:
            return False
        pending += layer.sources if layer.kind == "Concat" else [layer.source(0)]
    return True
