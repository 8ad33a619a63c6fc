"""A frozen function -> its graph, and what each operation in it makes of channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.channels.graph import Graph
from segopt_callbacks.channels.kernels import PRODUCTS
from segopt_callbacks.channels.links import Binding, Need
from segopt_callbacks.channels.rules import bind
from segopt_callbacks.model import signature

OUTPUT = "the output "  # begins the reason of what an answer of the function needs


def bound(frozen: signature.Frozen) -> tuple[Graph, list[Binding]]:
    """The graph of a function that is opened, what each operation makes of channels, and what the answers need."""
    graph = Graph(frozen)
    bindings = [bind(op, graph) for op in graph.operations]
    answers = frozen.serve.structured_outputs.items()
    needs = [Need(graph.key(one, axis), None, f"{OUTPUT}{name}") for name, one in answers for axis in (-1, -2)]
    return graph, [*bindings, Binding(needs=needs)]


def opened(frozen: signature.Frozen) -> signature.Frozen:
    """The function, with the convolutions and products of functions that it calls among its own operations."""
    definition = compat.inlined(frozen.serve.graph, frozenset(PRODUCTS))
    return frozen if definition is None else remade(frozen, definition, {})


def remade(frozen: signature.Frozen, definition: Any, smaller: Mapping[str, tf.Variable]) -> signature.Frozen:
    """A function of another definition, on the same variables but for those that are smaller."""
    weights = {path: smaller.get(path, variable) for path, variable in frozen.weights.items()}
    handles = {id(frozen.weights[path].handle): variable for path, variable in smaller.items()}
    serve, used = compat.rebuilt(frozen.serve, definition, handles, [port.name for port in frozen.outputs])
    read = {path: variable for path, variable in weights.items() if id(variable) in used}
    module = tf.Module()
    module.weights, module.resources = read, frozen.module.resources
    return replace(frozen, module=module, serve=serve, weights=read)
