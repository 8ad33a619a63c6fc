"""Reads a `.tflite` file itself, without an interpreter, and takes the cast off its integer inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.export import schema
from segopt_callbacks.export.audit import match_weights, weight_row
from segopt_callbacks.export.errors import FormatError
from segopt_callbacks.export.rounding import merge_rounded

# Operators that multiply by weights -> the axis of output channels in LiteRT's layout.
WEIGHT_OPERATORS = {
    "CONV_2D": 0,
    "DEPTHWISE_CONV_2D": 3,
    "TRANSPOSE_CONV": 0,
    "FULLY_CONNECTED": 0,
    "CONV_3D": 4,
    "CONV_3D_TRANSPOSE": 3,
    "BATCH_MATMUL": -1,
}
DTYPES = {"FLOAT32": "float32", "FLOAT16": "float16", "INT8": "int8", "UINT8": "uint8", "INT16": "int16"}


@dataclass(frozen=True)
class StoredWeight:
    """A constant that an operator multiplies by.

    Attributes:
        name: of the tensor in the file.
        values: as stored.
        channel_axis: the axis of output channels.
        scales: of quantized values.
        zero_point: the code that means 0.
    """

    name: str
    values: np.ndarray
    channel_axis: int
    scales: np.ndarray
    zero_point: int

    @property
    def channels(self) -> np.ndarray:
        """The values without their zero point, `(channels, elements)`."""
        first = np.moveaxis(self.values, self.channel_axis, 0)
        return first.reshape(first.shape[0], -1).astype(np.float32) - self.zero_point


def stored_weights(path: Path) -> list[StoredWeight]:
    """The weights of a file: constants of rank 2 or more that feed an operator of `WEIGHT_OPERATORS`.

    float16 weights, and int8 weights of operators that compute in float, pass a DEQUANTIZE on their way.
    """
    model = schema.unpack(path.read_bytes())
    weights = (_stored(model, tensor, axis) for tensor, axis in _weight_tensors(model))
    return [weight for weight in weights if weight is not None]


def _weight_tensors(model: Any) -> list[tuple[Any, int]]:
    """The tensors, one for each buffer, with the axis of their output channels."""
    found: dict[int, tuple[Any, int]] = {}
    for graph in model.subgraphs:
        dequantized = {
            op.outputs[0]: op.inputs[0] for op in graph.operators if schema.operator_name(model, op) == "DEQUANTIZE"
        }
        for operator in graph.operators:
            name = schema.operator_name(model, operator)
            for index in operator.inputs if name in WEIGHT_OPERATORS else []:
                source = dequantized.get(index, index)
                tensor = graph.tensors[source] if source >= 0 else None
                if tensor is None or tensor.shape is None or len(tensor.shape) < 2:
                    continue
                found.setdefault(tensor.buffer, (tensor, WEIGHT_OPERATORS[name]))
    return list(found.values())


def read_weights(path: Path, weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The rows of a file's weight audit, see `audit.weight_row`.

    Args:
        path: the file.
        weights: path -> value, the model's own weights; rows are named by those they come from.

    Raises:
        FormatError: if a weight is outside of what its dtype can hold.
    """
    return weight_rows(stored_weights(path), weights)


def weight_rows(stored: Sequence[StoredWeight], weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The same of weights that are read already.

    Raises:
        FormatError: if a weight is outside of what its dtype can hold.
    """
    overflown = [one.name for one in stored if _overflows(one.values)]
    if overflown:
        raise FormatError(f"weights overflow their dtype in the file: {', '.join(overflown)}; scale them down")
    names = match_weights([one.channels for one in stored], weights)
    return [
        weight_row(
            one.name,
            one.values,
            channel_axis=one.channel_axis,
            zero_point=one.zero_point,
            scales=one.scales,
            weight=name,
        )
        for one, name in zip(stored, names, strict=True)
    ]


def read_activations(path: Path) -> list[dict[str, Any]]:
    """What is computed between the constants of a file, inputs and outputs included.

    Returns:
        `name`, `shape` and `dtype` of each tensor that is no constant, in the file's order.
    """
    model = schema.unpack(path.read_bytes())
    return [
        {
            "name": schema.tensor_name(tensor),
            "shape": [] if tensor.shape is None else [int(size) for size in tensor.shape],
            "dtype": schema.type_name(tensor).lower(),
        }
        for graph in model.subgraphs
        for tensor in graph.tensors
        if schema.constant(model, tensor) is None
    ]


def float_operations(path: Path) -> list[str]:
    """Operations that compute in float32, as `OPERATOR (name of its output)`.

    Quantizing a declared input and dequantizing a declared output is no computation.
    """
    model = schema.unpack(path.read_bytes())
    computing: list[str] = []
    converting: list[str] = []
    for graph in model.subgraphs:
        floats = {index for index, tensor in enumerate(graph.tensors) if _is_float_activation(model, tensor)}
        for operator in graph.operators:
            name = schema.operator_name(model, operator)
            touched = floats.intersection(operator.inputs), floats.intersection(operator.outputs)
            if name == "QUANTIZE" and not touched[0] - set(graph.inputs):
                continue
            if name == "DEQUANTIZE" and not touched[1] - set(graph.outputs):
                continue
            if touched[0] or touched[1]:
                label = f"{name} ({schema.tensor_name(graph.tensors[operator.outputs[0]])})"
                (converting if name in ("QUANTIZE", "DEQUANTIZE") else computing).append(label)
    return computing or converting


def merge_rounded_weights(content: bytes) -> bytes:
    """Gives float32 weights that the converter's rounding has set apart one value again, see `rounding.merge_rounded`.

    Args:
        content: a `.tflite` file.

    Returns:
        the file with fewer distinct weights; the very same bytes where there is nothing to merge.
    """
    model = schema.unpack(content)
    is_changed = False
    for tensor, axis in _weight_tensors(model):
        stored = _stored(model, tensor, axis)
        if stored is None or stored.values.dtype != np.float32:
            continue
        merged = merge_rounded(stored.values)
        if merged is not stored.values:
            model.buffers[tensor.buffer].data = merged.view(np.uint8).ravel()
            is_changed = True
    return schema.pack(model) if is_changed else content


def take_raw_integers(content: bytes) -> bytes:
    """Lets the first quantization of a full-integer file read raw integer inputs.

    A model that is fed uint8 casts them to float, and the converter keeps that cast in float32. Raw integers *are*
    quantized, by scale 1 and zero point 0: QUANTIZE converts from that by itself.

    Args:
        content: a `.tflite` file.

    Returns:
        the file without such casts; the very same bytes where there are none.
    """
    model = schema.unpack(content)
    graph = model.subgraphs[0]
    removed = [cast for cast in graph.operators if _is_removable(model, graph, cast)]
    for cast in removed:
        raw, as_float = cast.inputs[0], cast.outputs[0]
        graph.tensors[raw].quantization = schema.unit_quantization()
        for operator in graph.operators:
            operator.inputs = [raw if index == as_float else index for index in operator.inputs]
    if not removed:
        return content
    graph.operators = [operator for operator in graph.operators if not any(operator is cast for cast in removed)]
    _drop_tensors(model, graph, {cast.outputs[0] for cast in removed})
    return schema.pack(model)


def _overflows(values: np.ndarray) -> bool:
    # The converter writes float16's largest number, or infinity, for what does not fit.
    if not np.issubdtype(values.dtype, np.floating):
        return False
    limit = np.finfo(values.dtype).max
    return not bool((np.abs(values) < limit).all())


def _is_removable(model: Any, graph: Any, cast: Any) -> bool:
    if (
        schema.operator_name(model, cast) != "CAST"
        or cast.inputs[0] not in graph.inputs
        or cast.outputs[0] in graph.outputs
    ):
        return False
    if schema.type_name(graph.tensors[cast.inputs[0]]) not in ("UINT8", "INT8"):
        return False
    users = [
        schema.operator_name(model, operator) for operator in graph.operators if cast.outputs[0] in operator.inputs
    ]
    others = [
        one for one in graph.operators if cast.inputs[0] in one.inputs and schema.operator_name(model, one) != "CAST"
    ]
    return bool(users) and set(users) == {"QUANTIZE"} and not others


def _drop_tensors(model: Any, graph: Any, dropped: set[int]) -> None:
    kept = [index for index in range(len(graph.tensors)) if index not in dropped]
    moved = {-1: -1} | {old: new for new, old in enumerate(kept)}
    graph.tensors = [graph.tensors[index] for index in kept]
    graph.inputs = [moved[index] for index in graph.inputs]
    graph.outputs = [moved[index] for index in graph.outputs]
    for operator in graph.operators:
        for name in ("inputs", "outputs", "intermediates"):
            indices = getattr(operator, name)
            setattr(operator, name, None if indices is None else [moved[index] for index in indices])
    for signature in model.signatureDefs or []:
        for one in [*signature.inputs, *signature.outputs] if signature.subgraphIndex == 0 else []:
            one.tensorIndex = moved[one.tensorIndex]


def _is_float_activation(model: Any, tensor: Any) -> bool:
    return schema.type_name(tensor) in ("FLOAT32", "FLOAT16", "FLOAT64") and schema.constant(model, tensor) is None


def _stored(model: Any, tensor: Any, axis: int) -> StoredWeight | None:
    dtype, content = DTYPES.get(schema.type_name(tensor)), schema.constant(model, tensor)
    if dtype is None or content is None:
        return None
    values = content.view(dtype).reshape(tensor.shape)
    quantization = tensor.quantization
    has_scales = quantization is not None and quantization.scale is not None
    scales = np.asarray(quantization.scale if has_scales else [], np.float32)
    zero_points = np.asarray(quantization.zeroPoint if has_scales else [0])
    return StoredWeight(schema.tensor_name(tensor), values, axis, scales, int(zero_points[0]))
