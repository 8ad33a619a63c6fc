"""A model that computes as its integer file will: kernels and tensors are rounded where the file rounds them.

The model itself stays as it is. Its `call`, and that of its normalisations, is replaced on the instance for a while;
what is rounded are the arguments of the operations that are traced meanwhile. So gradients are those of the rounded
tensors, and layers, custom layers and raw operations are all treated alike.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.quantization.comparisons import COMPARISONS, comparable
from segopt_callbacks.quantization.fake_quant import extremes, quantized_activation, quantized_weight
from segopt_callbacks.quantization.operations import ADDS, KERNELS, bits_of_kernel
from segopt_callbacks.quantization.ranges import Range
from segopt_callbacks.quantization.resolution import resolved_ends
from segopt_callbacks.quantization.singular import SINGULAR, UNROUNDED, held
from segopt_callbacks.quantization.sites import Sites
from segopt_callbacks.quantization.softmaxes import resolved_logits
from segopt_callbacks.quantization.tracing import Names, given_tensors

_SCOPE = "rounding/"  # of what is added: the model's own operations keep their names


class Simulation:
    """Rounds what a model computes, where its sites are.

    What a function was traced with stays in it: trace anew when a setting changes.

    Args:
        model: a built Keras model.
        sites: see `sites.find_sites`.
        ranges: name -> range, of every tensor that shall be rounded.
        kernels: paths of the variables whose kernels are rounded; `None` for all.
        num_bits: of kernels, where the file has so few, see `operations.bits_of_kernel`.

    Attributes:
        rounds: whether anything is rounded.
        observes: whether training steps take the ranges along.
        learned: names of the ranges that training steps move against their gradients instead.
        freezes_statistics: whether BatchNormalization computes with its moving statistics in training too.
        seen: names of the tensors that have been met in training steps.
    """

    def __init__(
        self,
        model: Any,
        sites: Sites,
        ranges: dict[str, Range],
        *,
        kernels: Collection[str] | None = None,
        num_bits: int = 8,
    ) -> None:
        self.model = model
        self.sites = sites
        self.ranges = ranges
        self.kernels = kernels
        self.num_bits = num_bits
        self.rounds = True
        self.observes = False
        self.learned: frozenset[str] = frozenset()
        self.freezes_statistics = False
        self.seen: set[str] = set()
        self._thread = threading.local()

    @property
    def rounds_weights(self) -> bool:
        """Whether weights are rounded at all; a converter does that by itself."""
        return self.kernels is None or len(self.kernels) > 0

    def not_fixed(self) -> frozenset[str]:
        """Names of the ranges that the file does not prescribe."""
        return frozenset(self.ranges.keys() - self.sites.fixed.keys())

    def learnable(self) -> frozenset[str]:
        """Names of the ranges that have been seen to hold more than zeros."""
        read = {name: self.ranges[name].read() for name in self.not_fixed()}
        return frozenset(name for name, pair in read.items() if pair is not None and pair[0] < pair[1])

    def attach(self) -> Callable[[], None]:
        """Makes the model compute so.

        Returns:
            what lets it go.
        """
        undos = [
            compat.around_call(self.model, self._call),
            compat.around_method(self.model, "train_step", self._train),
        ]
        undos += [compat.unfuse(self.model)] if self.sites.split_normalizations else []
        undos += [
            compat.freeze_statistics(layer, lambda: self.freezes_statistics) for layer in compat.batch_norms(self.model)
        ]
        own = compat.functions_of_their_own(self.model)
        undos += [compat.around_method(layer, name, self._convolve) for layer, name in own.items()]

        def undo() -> None:
            for one in reversed(undos):
                one()

        return undo

    def _train(self, step: Callable[..., Any], *arguments: Any) -> Any:
        self._thread.is_training = True
        try:
            return step(*arguments)
        finally:
            self._thread.is_training = False

    def _call(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if tf.executing_eagerly():
            return call(*arguments, **options)
        observes = self.observes and getattr(self._thread, "is_training", False)
        rounding = _Rounding(self, Names(given_tensors(arguments, options)), observes)
        self._thread.rounding = rounding
        try:
            with compat.watched_operations(rounding):
                answers = call(*arguments, **options)
        finally:
            self._thread.rounding = None
        return tf.nest.map_structure(rounding.rounded, answers)

    def _convolve(self, convolve: Callable[..., Any], inputs: Any, kernel: Any) -> Any:
        """A grouped convolution of Keras 2 is a function that was traced before: only its arguments can be rounded."""
        rounding = getattr(self._thread, "rounding", None)
        if rounding is None:
            return convolve(inputs, kernel)
        return convolve(rounding.rounded(inputs), rounding.rounded_kernel(kernel, "Conv2D"))


class _Rounding:
    """One call of the model: the hook that replaces arguments of operations."""

    def __init__(self, simulation: Simulation, names: Names, observes: bool) -> None:
        self._simulation = simulation
        self._names = names
        self._observes = observes
        self._graph = compat.current_graph()
        self._done: dict[int, tuple[tf.Tensor, tf.Tensor]] = {}  # each tensor with the rounded one

    def before(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Rounds what an operation reads."""
        if kind in UNROUNDED:
            return arguments
        rounded = {name: self._of_argument(value) for name, value in arguments.items()}
        if kind in SINGULAR:
            rounded = self._held(kind, arguments, rounded)
        if kind in COMPARISONS:
            rounded = self._comparable(arguments, rounded)
        if kind in KERNELS:
            name = KERNELS[kind][0]
            rounded[name] = self.rounded_kernel(rounded[name], kind)
        elif kind in ADDS:
            for name, other in (("x", "y"), ("y", "x")):
                rounded[name] = self._rounded_constant(rounded[name], arguments[other])
        return rounded

    def after(self, operation: tf.Operation) -> None:
        """Nothing: a gradient tape knows an operation only later, so that what it gives is rounded when it is read."""

    def _of_argument(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self.rounded(one) for one in value]
        return self.rounded(value)

    def rounded(self, tensor: Any) -> Any:
        """The rounded tensor, if it has a range; else the tensor."""
        if not _is_symbolic(tensor) or not tensor.dtype.is_floating or tensor.graph is not self._graph:
            return tensor
        if id(tensor) not in self._done:
            self._done[id(tensor)] = (tensor, self._make(tensor))
        return self._done[id(tensor)][1]

    def _make(self, tensor: tf.Tensor) -> tf.Tensor:
        name = self._names.of(tensor)
        simulation = self._simulation
        if name not in simulation.ranges:
            return tensor
        with tensor.graph.as_default(), tf.name_scope(_SCOPE):
            if self._observes:
                simulation.seen.add(name)
                if name in simulation.learned:
                    return simulation.ranges[name].learned(tensor)
                self._observe(name, tensor)
            return simulation.ranges[name].rounded(tensor) if simulation.rounds else tensor

    def _observe(self, name: str, tensor: tf.Tensor) -> None:
        """Takes a tensor into its range, without what the file could not make use of."""
        sites, ranges = self._simulation.sites, self._simulation.ranges
        values = resolved_logits(tensor) if name in sites.logits else tensor

        def limit(low: tf.Tensor, high: tf.Tensor) -> tuple[Any, Any]:
            return resolved_ends(sites, name, low, high, lambda one: ranges[one].bounds)

        ranges[name].observe(values, limit, is_answer=name in sites.answers)

    def _held(self, kind: str, given: dict[str, Any], rounded: dict[str, Any]) -> dict[str, Any]:
        """Keeps a singular operation away from where it has no value."""
        argument = SINGULAR[kind][0]
        value, simulation = given[argument], self._simulation
        name = simulation.sites.behind.get(self._names.of(value)) if _is_symbolic(value) else None
        if name not in simulation.ranges or not simulation.rounds or not value.dtype.is_floating:
            return rounded
        with value.graph.as_default(), tf.name_scope(_SCOPE):
            away = held(kind, value, rounded[argument], simulation.ranges[name].bounds, given)
        return {**rounded, argument: away}

    def _comparable(self, given: dict[str, Any], rounded: dict[str, Any]) -> dict[str, Any]:
        """Lets the file compare what training compares; its ranges are numbers."""
        ranges = self._simulation.ranges
        names = {side: self._names.of(given[side]) for side in ("x", "y") if _is_symbolic(given[side])}
        bounds = {side: ranges[name].bounds for side, name in names.items() if name in ranges}
        if not bounds or not all(isinstance(one, np.ndarray) for one in bounds.values()):
            return rounded
        with self._graph.as_default(), tf.name_scope(_SCOPE):
            return {**rounded, **comparable(rounded, bounds)}

    def _rounded_constant(self, value: Any, other: Any) -> Any:
        """A scale or shift that is an integer tensor in the file, with the range of its own values."""
        simulation = self._simulation
        if not simulation.rounds or not simulation.rounds_weights or not (_is_symbolic(value) and _is_symbolic(other)):
            return value
        if (self._names.of(other), self._names.of(value)) not in simulation.sites.constants:
            return value
        with tf.name_scope(_SCOPE):
            return quantized_activation(value, *extremes(tf.stop_gradient(value)))

    def rounded_kernel(self, kernel: Any, kind: str) -> Any:
        """The rounded kernel, if it shall be."""
        simulation = self._simulation
        kernel = tf.convert_to_tensor(kernel)
        if not simulation.rounds:
            return kernel
        name = self._names.of(kernel)
        if name not in simulation.sites.kernels:
            return kernel
        if simulation.kernels is not None and simulation.sites.kernels[name] not in simulation.kernels:
            return kernel
        with tf.name_scope(_SCOPE):
            return quantized_weight(kernel, KERNELS[kind][1], bits_of_kernel(kind, simulation.num_bits))


def _is_symbolic(value: Any) -> bool:
    return tf.is_tensor(value) and not isinstance(value, tf.Variable) and hasattr(value, "op")
