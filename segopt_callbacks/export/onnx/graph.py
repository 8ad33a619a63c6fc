"""ONNX files as graphs, with the ways from an operation to what it reads.

The package `onnx` is imported when a file is read: a reader of protocol buffers, which takes a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError


@dataclass(frozen=True)
class OnnxGraph:
    """A file, with the ways from an operation to what it reads.

    Attributes:
        model: the `onnx.ModelProto`.
        nodes: of the main graph and of all graphs inside it.
        constants: name -> `onnx.TensorProto`.
        producers: name of a tensor -> the node that computes it.
        consumers: name of a tensor -> the nodes that read it.
    """

    model: Any
    nodes: list[Any]
    constants: dict[str, Any]
    producers: dict[str, Any]
    consumers: dict[str, list[Any]]

    @property
    def input_names(self) -> set[str]:
        """Names of the inputs of the model."""
        return {one.name for one in self.model.graph.input}

    @property
    def output_names(self) -> set[str]:
        """Names of the outputs of the model."""
        return {one.name for one in self.model.graph.output}

    def producer(self, name: str, *types: str) -> Any:
        """The node that computes a tensor if it is of one of the types, else `None`."""
        node = self.producers.get(name)
        return node if node is not None and node.op_type in types else None

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a constant; `None` for what is computed."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None


def open_graph(path: Path) -> OnnxGraph:
    """Reads a file.

    Raises:
        FormatError: if it is no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path))
    except (DecodeError, OSError, ValueError) as error:
        raise FormatError(f"the file is no ONNX model: {error}") from error
    if not model.graph.node:
        raise FormatError("the file is no ONNX model: it holds no graph")
    return graph_of(model)


def graph_of(model: Any) -> OnnxGraph:
    """The same of an `onnx.ModelProto`."""
    nodes: list[Any] = []
    constants: dict[str, Any] = {}
    for graph in _graphs(model.graph):
        constants |= {one.name: one for one in graph.initializer}
        for node in graph.node:
            nodes.append(node)
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                constants[node.output[0]] = node.attribute[0].t
    consumers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    producers = {name: node for node in nodes for name in node.output}
    return OnnxGraph(model, nodes, constants, producers, consumers)


def label(node: Any) -> str:
    """How a node is called in messages."""
    return f"{node.op_type} ({node.output[0]})"


def described(info: Any) -> dict[str, Any]:
    """`name`, `shape` (-1 for a size that is open) and `dtype` of an `onnx.ValueInfoProto`."""
    from onnx import helper

    tensor = info.type.tensor_type
    return {
        "name": info.name,
        "shape": [one.dim_value if one.HasField("dim_value") else -1 for one in tensor.shape.dim],
        "dtype": np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name,
    }


def attribute(node: Any, name: str, default: Any) -> Any:
    """The value of a node's attribute."""
    from onnx import helper

    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def shorten_names(model: Any) -> None:
    """Takes what TensorFlow's calls have put before every name away; in a small file they are most of its bytes.

    Args:
        model: the `onnx.ModelProto`, changed in place; left as it is where names would become alike.
    """
    graphs = list(_graphs(model.graph))
    nodes = [node for graph in graphs for node in graph.node]
    named = [one for graph in graphs for one in [*graph.initializer, *graph.value_info, *graph.input, *graph.output]]
    names = {one.name for one in named}.union(*(one.output for one in nodes))
    if len(set(map(_short, names))) < len(names):
        return
    for node in nodes:
        node.input[:], node.output[:] = map(_short, list(node.input)), map(_short, list(node.output))
    for one in [*nodes, *named]:
        one.name = _short(one.name)


def _short(name: str) -> str:
    return name.replace("StatefulPartitionedCall/", "")


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for one in node.attribute:
            for inner in [one.g] if one.HasField("g") else one.graphs:
                yield from _graphs(inner)
