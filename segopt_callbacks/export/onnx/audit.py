"""What an ONNX file really holds: its weights, what it computes, and which operations are quantized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.arrays import merge_rounded
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.audit import StoredWeight, weight_rows
from segopt_callbacks.export.onnx.graph import OnnxGraph, attribute, described, graph_of, label, open_graph

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
RECURRENT = ("GRU", "LSTM", "RNN")  # ONNX Runtime's quantizer leaves them alone
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
LEAST_ELEMENTS = 8  # of a constant that may be a weight; below are shapes and paddings
_TRANSPARENT = ("Cast", "Identity")  # between a stored weight and the operation that multiplies by it


@dataclass(frozen=True)
class OnnxWeight(StoredWeight):
    """A constant that an operator multiplies by, in ONNX' order of axes.

    Attributes:
        order: its axes, output channels first, the others in the order in which Keras has them.
        node: of the operation.
        index: which of its inputs it is.
    """

    order: tuple[int, ...]
    node: Any
    index: int

    @property
    def has_scale_per_channel(self) -> bool:
        """Whether kernels take a scale for each output channel; a left factor of a matrix product has one for all."""
        return self.index == 1

    @property
    def channels(self) -> np.ndarray:
        """The values without their zero point, `(channels, elements)`."""
        first = self.values.transpose(self.order)
        return first.reshape(first.shape[0], -1).astype(np.float32) - self.zero_point


def stored_weights(graph: OnnxGraph) -> list[OnnxWeight]:
    """The weights of a file: constants of rank 2 or more that operations multiply by, each once."""
    found: dict[str, OnnxWeight] = {}
    for node in graph.nodes:
        for index in _weight_inputs(node):
            weight = _weight(graph, node, index)
            if weight is not None:
                found.setdefault(weight.name, weight)
    return list(found.values())


def read_weights(path: Path, weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The rows of a file's weight audit, see `audit.weight_row`.

    Args:
        path: the file.
        weights: path -> value, the model's own weights; rows are named by those they come from.

    Raises:
        FormatError: if the file is no ONNX model, or the zeros of a weight are not stored as zeros.
    """
    graph = open_graph(path)
    stored = stored_weights(graph)
    shifted = [one.name for one in stored if one.zero_point]
    if shifted:
        raise FormatError(
            f"weights have a zero point that is not 0: {', '.join(shifted)}; pruned weights are not stored as zeros"
        )
    others = _other_constants(graph, {one.name for one in stored})
    rows = weight_rows([*stored, *others], weights)
    return rows[: len(stored)] + [row for row in rows[len(stored) :] if row["weight"]]


def read_activations(path: Path) -> list[dict[str, Any]]:
    """What is computed between the constants of a file, inputs and outputs included.

    A float32 tensor on its way from a DequantizeLinear, or to QuantizeLinear only, is not listed: runtimes compute the
    operation between the two in integers.

    Returns:
        `name`, `shape` and `dtype` of each tensor whose type is known, in the file's order.
    """
    import onnx

    graph = graph_of(onnx.shape_inference.infer_shapes(open_graph(path).model))
    main = graph.model.graph
    infos = {one.name: one for one in [*main.value_info, *main.input, *main.output]}
    names = [one.name for one in main.input] + [name for node in main.node for name in node.output]
    return [
        described(infos[name])
        for name in names
        if name in infos and name not in graph.constants and not _is_simulated(graph, name)
    ]


def float_operations(path: Path) -> list[str]:
    """Operations on weights, and matrix products, that compute in float32, as `OPERATOR (name of its output)`."""
    return [label(node) for node in float_nodes(open_graph(path))]


def float_nodes(graph: OnnxGraph) -> list[Any]:
    """The nodes that `float_operations` names: inputs that do not come from DequantizeLinear, or recurrent layers."""
    return [
        node
        for node in graph.nodes
        if node.op_type in RECURRENT
        or (node.op_type in WEIGHTED and not all(graph.producer(name, DEQUANTIZE) for name in node.input[:2]))
    ]


def merge_rounded_weights(model: Any) -> None:
    """Gives float32 weights that a converter's rounding has set apart one value again, see `arrays.merge_rounded`.

    Args:
        model: the `onnx.ModelProto`, changed in place.
    """
    from onnx import numpy_helper

    graph = graph_of(model)
    for weight in stored_weights(graph):
        if weight.values.dtype == np.float32:
            merged = merge_rounded(weight.values)
            if merged is not weight.values:
                graph.constants[weight.name].CopyFrom(numpy_helper.from_array(merged, weight.name))


def _weight_inputs(node: Any) -> tuple[int, ...]:
    if node.op_type in RECURRENT:
        return 1, 2
    if node.op_type == "MatMul":
        return 0, 1
    return (1,) if node.op_type in WEIGHTED else ()


def _weight(graph: OnnxGraph, node: Any, index: int) -> OnnxWeight | None:
    name = node.input[index]
    while (way := graph.producer(name, DEQUANTIZE, QUANTIZE, *_TRANSPARENT)) is not None:
        name = way.input[0]
    values = graph.constant(name)
    if values is None or values.ndim < 2:
        return None
    order = _order(node, index, values.ndim)
    return OnnxWeight(
        name, node.op_type, str(values.dtype), values, order[0], *_quantization(graph, name), order, node, index
    )


def _quantization(graph: OnnxGraph, name: str) -> tuple[np.ndarray, int]:
    """The scales of a constant, and the zero point that is furthest from 0."""
    users = [one for one in graph.consumers.get(name, []) if one.op_type in (QUANTIZE, DEQUANTIZE)]
    scales = graph.constant(users[0].input[1]) if users else None
    zero_points = graph.constant(users[0].input[2]) if users and len(users[0].input) > 2 else None
    furthest = 0 if zero_points is None else max(zero_points.ravel().tolist(), key=abs)
    return np.array([], np.float32) if scales is None else scales.ravel(), furthest


def _other_constants(graph: OnnxGraph, known: set[str]) -> list[StoredWeight]:
    """What else may be a weight: tables of embeddings, and what loops read, in Keras' own order of axes."""
    others = []
    for name in graph.constants:
        values = graph.constant(name)
        if name not in known and values is not None and values.ndim >= 2 and values.size >= LEAST_ELEMENTS:
            scales, zero_point = _quantization(graph, name)
            others.append(StoredWeight(name, "", str(values.dtype), values, values.ndim - 1, scales, zero_point))
    return others


def _order(node: Any, index: int, rank: int) -> tuple[int, ...]:
    """Axes of a weight, output channels first: of a convolution (out, ..., in), as Keras has them."""
    spatial = tuple(range(2, rank))
    if node.op_type == "Conv":
        return 0, *spatial, 1
    if node.op_type == "ConvTranspose":
        return 1, *spatial, 0
    if node.op_type in RECURRENT:
        channel = 1
    elif node.op_type == "Gemm":
        channel = 0 if attribute(node, "transB", 0) else 1
    else:
        channel = rank - 1 if index == 1 else rank - 2
    return channel, *(axis for axis in range(rank) if axis != channel)


def _is_simulated(graph: OnnxGraph, name: str) -> bool:
    if name in graph.input_names or name in graph.output_names:
        return False
    users = graph.consumers.get(name, [])
    return graph.producer(name, DEQUANTIZE) is not None or {one.op_type for one in users} == {QUANTIZE}
