"""Reads what a `.tflite` file holds, without an interpreter: weights, activations, what computes in float."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.arrays import merge_rounded
from segopt_callbacks.errors import damage_is_named
from segopt_callbacks.export.audit import StoredWeight, weight_rows
from segopt_callbacks.export.litert import schema

_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
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


def stored_weights(path: Path | bytes) -> Iterator[StoredWeight]:
    """The weights of a file: constants of rank 2 or more that feed an operator of `WEIGHT_OPERATORS`.

    float16 weights, and int8 weights of operators that compute in float, pass a DEQUANTIZE on their way, sparse ones a
    DENSIFY.

    Args:
        path: the file, or its content; it is read at once, and a weight is made dense when it is asked for.
    """
    model = schema.unpack(path) if isinstance(path, bytes) else schema.read(path)
    # A generator would keep the last weight while it makes the next.
    return filter(None, itertools.starmap(functools.partial(_stored, model), weight_tensors(model)))


def weight_tensors(model: Any) -> list[tuple[Any, str]]:
    """The tensors of `stored_weights`, one for each buffer, each with the name of an operator that it feeds."""
    found: dict[int, tuple[Any, str]] = {}
    for graph in model.subgraphs:
        for index, operator in kernels(model, graph).items():
            found.setdefault(graph.tensors[index].buffer, (graph.tensors[index], operator))
    return list(found.values())


def kernels(model: Any, graph: Any) -> dict[int, str]:
    """Index of each weight in one graph -> the operator that it feeds."""
    origins = constant_origins(model, graph)
    found: dict[int, str] = {}
    for operator in graph.operators:
        name = schema.operator_name(model, operator)
        for index in operator.inputs if name in WEIGHT_OPERATORS else []:
            source = origins.get(index, index)
            if source >= 0 and _is_weight(model, graph.tensors[source]):
                found.setdefault(source, name)
    return found


def constant_origins(model: Any, graph: Any) -> dict[int, int]:
    """Tensors that are a constant in another form (DEQUANTIZE, DENSIFY) -> that constant."""
    origins: dict[int, int] = {}
    for operator in graph.operators:
        if schema.operator_name(model, operator) in ("DEQUANTIZE", "DENSIFY"):
            source = origins.get(operator.inputs[0], operator.inputs[0])
            if schema.constant(model, graph.tensors[source]) is not None:
                origins[operator.outputs[0]] = source
    return origins


@damage_is_named("auditing it")
def read_weights(path: Path, weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The rows of a file's weight audit, see `audit.weight_row`.

    Args:
        path: the file.
        weights: path -> value, the model's own weights; rows are named by those they come from.

    Raises:
        FormatError: if a weight is outside of what its dtype can hold.
    """
    return weight_rows(stored_weights(path), weights)


@damage_is_named("auditing it")
def read_activations(path: Path) -> list[dict[str, Any]]:
    """What is computed between the constants of a file, inputs and outputs included.

    Returns:
        `name`, `shape` and `dtype` of each tensor that is no constant, in the file's order.
    """
    model = schema.read(path)
    return [
        {
            "name": schema.tensor_name(tensor),
            "shape": [] if tensor.shape is None else [int(size) for size in tensor.shape],
            "dtype": schema.type_name(tensor).lower(),
        }
        for graph in model.subgraphs
        for tensor in _computed(model, graph)
    ]


@damage_is_named("auditing it")
def float_operations(path: Path) -> list[str]:
    """Operations that compute in float32, as `OPERATOR (name of its output)`.

    An output of the file itself has lost the name that tells its layer; what it is computed from is named behind it.
    Quantizing a declared input and dequantizing a declared output is no computation.
    """
    return float_operations_in(schema.read(path))


def float_operations_in(model: Any) -> list[str]:
    """The same of a file that `schema` has read."""
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
                label = f"{name} ({';'.join(_named(model, graph, operator))})"
                (converting if name in _CONVERSIONS else computing).append(label)
    return computing or converting


def _named(model: Any, graph: Any, operator: Any) -> list[str]:
    """The name of what an operator computes, and of what it computes that from where this is an output of the file."""
    names = [schema.tensor_name(graph.tensors[operator.outputs[0]])]
    producers = {index: one for one in graph.operators for index in one.outputs}
    if _leads_to_output(model, graph, operator.outputs[0]):
        sources = [_before_conversion(model, producers, index) for index in operator.inputs if index >= 0]
        names += [schema.tensor_name(graph.tensors[index]) for index in sources if index in producers][:1]
    return names


def _leads_to_output(model: Any, graph: Any, index: int) -> bool:
    """Whether a tensor is an output of the file, or becomes one by changing its dtype alone."""
    changed = [
        one.outputs[0]
        for one in graph.operators
        if index in one.inputs and schema.operator_name(model, one) in _CONVERSIONS
    ]
    return bool({index, *changed} & set(graph.outputs))


def _before_conversion(model: Any, producers: Mapping[int, Any], index: int) -> int:
    while index in producers and schema.operator_name(model, producers[index]) in _CONVERSIONS:
        index = producers[index].inputs[0]
    return index


def merge_rounded_weights(content: bytes) -> bytes:
    """Gives float32 weights that the converter's rounding has set apart one value again, see `rounding.merge_rounded`.

    Args:
        content: a `.tflite` file.

    Returns:
        the file with fewer distinct weights; the very same bytes where there is nothing to merge.
    """
    model = schema.unpack(content)
    is_changed = False
    for tensor, operator in weight_tensors(model):
        stored = _stored(model, tensor, operator)
        if stored is None or stored.values.dtype != np.float32:
            continue
        merged = merge_rounded(stored.values)
        if merged is not stored.values:
            model.buffers[tensor.buffer].data = merged.view(np.uint8).ravel()
            is_changed = True
    return schema.pack(model) if is_changed else content


def _is_weight(model: Any, tensor: Any) -> bool:
    return tensor.shape is not None and len(tensor.shape) >= 2 and schema.constant(model, tensor) is not None


def _computed(model: Any, graph: Any) -> list[Any]:
    """The tensors of a graph that are no constant, in no form."""
    origins = constant_origins(model, graph)
    return [
        tensor
        for index, tensor in enumerate(graph.tensors)
        if index not in origins and schema.constant(model, tensor) is None
    ]


def _is_float_activation(model: Any, tensor: Any) -> bool:
    return schema.type_name(tensor) in ("FLOAT32", "FLOAT16", "FLOAT64") and schema.constant(model, tensor) is None


def _stored(model: Any, tensor: Any, operator: str) -> StoredWeight | None:
    values = schema.values(model, tensor)
    if values is None:
        return None
    quantization = tensor.quantization
    has_scales = quantization is not None and quantization.scale is not None
    scales = np.asarray(quantization.scale if has_scales else [], np.float32)
    zero_points = np.asarray(quantization.zeroPoint if has_scales else [0])
    dtype = schema.type_name(tensor).lower()
    axis = WEIGHT_OPERATORS[operator]
    name = schema.tensor_name(tensor)
    return StoredWeight(name, operator, dtype, values, axis, scales, int(zero_points[0]))
