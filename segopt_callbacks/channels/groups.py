"""Which channels of a model's kernels can only leave together: those that residual connections add, above all.

The same laws that remove channels say so: channels that are tied stay or go together. (Torch-Pruning calls it a
dependency graph: Fang et al. 2023, https://arxiv.org/abs/2301.12900.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.channels import kernels
from segopt_callbacks.channels.graph import Graph
from segopt_callbacks.channels.layers import DEPTHWISE, Layer, products
from segopt_callbacks.channels.links import Binding, Key
from segopt_callbacks.channels.reading import bound, opened
from segopt_callbacks.model import signature

_NONE = -1


@dataclass(frozen=True)
class ChannelGroups:
    """Groups of channels, by number.

    Attributes:
        kernels: path of a kernel -> `(output channels,)`, the group of each, -1 where it is in none.
        vectors: variables of one value for each channel -> `(channels,)`, likewise: biases, scales and offsets that are
            zeroed when all kernels of the group are.
        layers: convolutions and products with the groups that they read and make, if they were asked for.
    """

    kernels: Mapping[str, np.ndarray] = field(default_factory=dict)
    vectors: tuple[tuple[Any, np.ndarray], ...] = ()
    layers: tuple[Layer, ...] = ()

    def without(self, paths: Iterable[str]) -> ChannelGroups:
        """The groups that none of some kernels is in."""
        gone = np.concatenate([self.kernels[path] for path in paths if path in self.kernels] or [np.zeros(0, int)])
        kept = {path: _none_of(one, gone) for path, one in self.kernels.items() if path not in set(paths)}
        vectors = tuple((one, _none_of(labels, gone)) for one, labels in self.vectors)
        layers = tuple(
            replace(one, reads=_none_of(one.reads, gone), makes=_none_of(one.makes, gone)) for one in self.layers
        )
        return replace(self, kernels=kept, vectors=vectors, layers=layers)


def channel_groups(
    model: Any, inputs: Any, found: Mapping[str, tuple[Any, tuple[int, ...]]], *, with_layers: bool = False
) -> ChannelGroups:
    """Reads the groups of some kernels out of a model's inference graph.

    A group holds all that must be zero for its channels to leave: no kernel that is not among these, no other tensor,
    no channel that an answer or an operation needs that is not known.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, batch first.
        found: path -> kernel, and the axes of it that are output channels.
        with_layers: whether to list the convolutions and products, too.

    Raises:
        ValueError: if the model is not built, or layers are asked for and the size of an image is open.
        FormatError: if it does not run as a graph.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> layers = [keras.layers.Dense(2, use_bias=False) for _ in "abc"]
        >>> x = keras.Input((3,))
        >>> model = keras.Model(x, layers[2](keras.layers.Add()([layers[0](x), layers[1](x)])))
        >>> both = {name: (one.kernel, (-1,)) for name, one in zip("ab", layers)}
        >>> groups = channel_groups(model, compat.model_input_specs(model), both).kernels
        >>> np.array_equal(groups["a"], groups["b"]), len(set(groups["a"]))
        (True, 2)
    """
    frozen = opened(signature.freeze(model, inputs, batch_size=None))
    graph, bindings = bound(frozen)
    names = {id(variable): name for name, variable in graph.variables.items()}
    ours = {
        path: (names[compat.identity(kernel)], -2 if len(outputs) == 2 else outputs[0])
        for path, (kernel, outputs) in found.items()
        if compat.identity(kernel) in names and outputs in ((-1,), (-2,), (-2, -1))
    }
    tied = _Tied(graph, bindings)
    lost = tied.held(bindings) | tied.of_others(graph, set(ours.values()))
    labels = {}
    for path, key in ours.items():
        kernel, outputs = found[path]
        each = _none_of(tied.labels(key), lost)
        labels[path] = each.repeat(kernel.shape[-1]) if len(outputs) == 2 else each
    every = np.concatenate([*labels.values(), np.zeros(0, int)])
    vectors = [
        (one, np.where(np.isin(each, every), each, _NONE))
        for one in model.trainable_variables
        if len(one.shape) == 1 and compat.identity(one) in names
        for each in [tied.labels((names[compat.identity(one)], -1))]
    ]
    layers = tuple(tied.layers(graph, every)) if with_layers else ()
    return ChannelGroups(labels, tuple((one, each) for one, each in vectors if (each != _NONE).any()), layers)


class _Tied:
    """The channels of everything that has a name, those that are tied under one number."""

    def __init__(self, graph: Graph, bindings: list[Binding]) -> None:
        self._sizes = graph.sizes()
        starts = np.cumsum([0, *self._sizes.values()])
        self._starts = dict(zip(self._sizes, starts.tolist(), strict=False))
        links = [link for binding in bindings for link in binding.links]
        empty = [np.zeros(0, int)]
        ones = np.concatenate([self._starts[one.one] + one.one_at for one in links] + empty)
        others = np.concatenate([self._starts[one.other] + one.other_at for one in links] + empty)
        self._labels = components(int(starts[-1]), ones, others)

    def labels(self, key: Key) -> np.ndarray:
        """The number of each channel; -1 of what has no name."""
        if key not in self._starts:
            return np.zeros(0, int)
        return self._labels[self._starts[key] :][: self._sizes[key]]

    def held(self, bindings: list[Binding]) -> set[int]:
        """The numbers of channels that something needs."""
        needs = [need for binding in bindings for need in binding.needs if need.key in self._starts]
        found = [self.labels(need.key)[slice(None) if need.channels is None else need.channels] for need in needs]
        return set(np.concatenate([*found, np.zeros(0, int)]).tolist())

    def layers(self, graph: Graph, every: np.ndarray) -> Iterator[Layer]:
        """The products, with the numbers among `every` of the channels that they read and make."""
        for op, shape, read, made in products(graph):
            reads, makes = (self._among(key, every) for key in (read, made))
            if op.type == DEPTHWISE:
                makes = makes.repeat(shape.kernel[3])
            if shape.is_grouped:
                reads = np.full(shape.reads[2], _NONE)
            yield Layer(op.name, shape, reads, makes)

    def _among(self, key: Key, every: np.ndarray) -> np.ndarray:
        labels = self.labels(key)
        return np.where(np.isin(labels, every), labels, _NONE)

    def of_others(self, graph: Graph, ours: set[Key]) -> set[int]:
        """The numbers of channels that kernels and tensors other than ours make."""
        read, made = set(), set()
        for op in graph.operations:
            if op.type in kernels.PRODUCTS:
                place = kernels.Product() if op.type == "DepthwiseConv2dNative" else kernels.product_of(op)
                if isinstance(place, str):
                    continue
                source = graph.source(op.inputs[place.kernel])
                read.add((source, place.read))
                made.add((source, -2 if op.type == "DepthwiseConv2dNative" else place.made))
        tensors = {
            (name, axis) for name, variable in graph.variables.items() if len(variable.shape) > 1 for axis in (-1, -2)
        }
        found = [self.labels(key) for key in (made | tensors - read) - ours if key in self._starts]
        return set(np.concatenate([*found, np.zeros(0, int)]).tolist())


def components(count: int, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The smallest number in each one's connected component.

    Args:
        count: of nodes.
        ones: `(edges,)`, where each edge begins.
        others: `(edges,)`, where it ends.

    >>> components(5, np.array([4, 1]), np.array([2, 4]))
    array([0, 1, 1, 3, 1])
    """
    labels = np.arange(count)
    while True:
        before = labels.copy()
        low = np.minimum(labels[ones], labels[others])
        np.minimum.at(labels, ones, low)
        np.minimum.at(labels, others, low)
        labels = labels[labels]
        if (labels == before).all():
            return labels


def _none_of(labels: np.ndarray, lost: Iterable[int]) -> np.ndarray:
    return np.where(np.isin(labels, np.fromiter(lost, int)), _NONE, labels)
