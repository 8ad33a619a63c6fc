"""A frozen inference function -> the same without its dead channels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.channels import cut, kernels
from segopt_callbacks.channels.graph import Graph
from segopt_callbacks.channels.links import LAST_ONE, Binding, Kept, Need
from segopt_callbacks.channels.reading import bound, opened, remade
from segopt_callbacks.model import signature


@dataclass(frozen=True)
class Removal:
    """What was removed from a function.

    Attributes:
        parameters: of the function, before and after.
        multiply_adds: of its convolutions and matrix products for one example, before and after; `None` where sizes
            are open.
        removed: name of a convolution or matrix product -> channels of its answer that it no longer computes.
        left: name, number of dead channels that stay, and why.
    """

    parameters: tuple[int, int]
    multiply_adds: tuple[int, int] | None
    removed: dict[str, int]
    left: tuple[tuple[str, int, str], ...]

    def entry(self) -> dict[str, Any]:
        """For the report, ready for JSON."""
        pairs = {"parameters": self.parameters, "multiply_adds": self.multiply_adds}
        told: dict[str, Any] = {
            name: None if pair is None else {"before": pair[0], "after": pair[1]} for name, pair in pairs.items()
        }
        told["removed"] = self.removed
        told["left"] = [{"tensor": name, "channels": count, "reason": why} for name, count, why in self.left]
        return told


def remove_channels(frozen: signature.Frozen, *, whole: Collection[str] = ()) -> tuple[signature.Frozen, Removal]:
    """Removes the channels that no answer depends on: those that are zero whatever the input, above all.

    Kernels lose them as outputs, biases and normalizations with them, and their readers lose them as inputs. Outputs
    and inputs of the function stay what they are. The variables that change are copies, under their names; all others
    are shared. An operation that is not known leaves what it reads and answers whole.

    Args:
        frozen: as `signature.freeze` returns it; not changed.
        whole: paths of variables that lose nothing.

    Returns:
        the function, the same object where nothing can be removed, and what was removed.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> from segopt_callbacks.model.signature import freeze
        >>> first, second = keras.layers.Dense(4), keras.layers.Dense(2)
        >>> model = keras.Sequential([keras.Input((3,)), first, second])
        >>> first.set_weights([np.eye(3, 4), np.zeros(4)])  # its last channel is zero
        >>> smaller, removal = remove_channels(freeze(model, tf.TensorSpec((None, 3))))
        >>> [tuple(one.shape) for one in smaller.weights.values()], removal.parameters
        ([(3, 3), (3,), (3, 2), (2,)], (26, 20))
    """
    original, frozen = frozen, opened(frozen)
    graph, bindings = bound(frozen)
    bindings.append(Binding(needs=_held(frozen, graph, whole)))
    sizes = graph.sizes()
    kept = Kept(lambda key: sizes[key])
    kept.solve(bindings)
    smaller = _variables(frozen, graph, kept)
    removal = _told(frozen, graph, kept, smaller)
    if not any(kept.of(key) is not None for key in sizes):
        return original, removal
    definition = cut.cut(frozen.serve.graph.as_graph_def(), graph, kept)
    return remade(frozen, definition, smaller), removal


def _held(frozen: signature.Frozen, graph: Graph, whole: Collection[str]) -> list[Need]:
    held = {id(frozen.weights[path]): path for path in whole if path in frozen.weights}
    return [
        Need((name, axis), None, f"{held[id(variable)]} stays whole")
        for name, variable in graph.variables.items()
        if id(variable) in held
        for axis in (-1, -2)
    ]


def _variables(frozen: signature.Frozen, graph: Graph, kept: Kept) -> dict[str, tf.Variable]:
    """Path -> what is left of a variable, of those that lose something."""
    paths = {id(variable): path for path, variable in frozen.weights.items()}
    smaller = {}
    for name, variable in graph.variables.items():
        value = cut.cut_value(variable.numpy(), name, kept)
        if value is not None:
            smaller[paths[id(variable)]] = tf.Variable(value, trainable=False, name=variable.name.partition(":")[0])
    return smaller


def _told(frozen: signature.Frozen, graph: Graph, kept: Kept, smaller: dict[str, tf.Variable]) -> Removal:
    before = {path: int(np.prod(variable.shape)) for path, variable in frozen.weights.items()}
    after = before | {path: int(np.prod(variable.shape)) for path, variable in smaller.items()}
    removed: dict[str, int] = {}
    left: list[tuple[str, int, str]] = []
    products: list[tuple[int | None, int | None]] = []
    for op in graph.operations:
        if op.type not in kernels.PRODUCTS or graph.size(op.outputs[0]) is None:
            continue
        products.append(_multiply_adds(op, graph, kept))
        out = op.outputs[0]
        mask = kept.of(graph.key(out))
        if mask is not None:
            removed[op.name] = int((~mask).sum())
        left += _left(op, graph, kept)
    counts = None
    if all(None not in pair for pair in products):
        counts = sum(one or 0 for one, _ in products), sum(other or 0 for _, other in products)
    return Removal((sum(before.values()), sum(after.values())), counts, removed, tuple(left))


def _left(op: tf.Operation, graph: Graph, kept: Kept) -> list[tuple[str, int, str]]:
    out = op.outputs[0]
    count = graph.size(out) or 1
    is_dead = graph.channels(out, count) == 0
    mask = kept.of(graph.key(out))
    stays = is_dead if mask is None else is_dead & mask
    if not stays.any():
        return []
    reasons = kept.why(graph.key(out))[stays]
    return [(op.name, int((reasons == why).sum()), str(why)) for why in dict.fromkeys(reasons) if why != LAST_ONE]


def _multiply_adds(op: tf.Operation, graph: Graph, kept: Kept) -> tuple[int | None, int | None]:
    place = kernels.Product() if op.type == "DepthwiseConv2dNative" else kernels.product_of(op)
    if isinstance(place, str):
        return 0, 0
    counts = []
    for mask_of in (lambda key: None, kept.of):
        channels = []
        for tensor in (op.inputs[place.x], op.outputs[0]):
            mask = mask_of(graph.key(tensor))
            channels.append(graph.size(tensor) or 0 if mask is None else int(mask.sum()))
        counts.append(kernels.multiply_adds(op, graph, *channels))
    return counts[0], counts[1]
