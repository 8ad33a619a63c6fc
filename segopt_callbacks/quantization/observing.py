"""Representative data -> ranges of a trained model's tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.errors import listed
from segopt_callbacks.quantization.bounds import bounds_of
from segopt_callbacks.quantization.calibration import METHODS, Calibration, Histogram
from segopt_callbacks.quantization.folding import folded_forward
from segopt_callbacks.quantization.softmaxes import resolved_logits
from segopt_callbacks.quantization.tracing import Names, given_tensors


class _Capture:
    """A hook that keeps the tensors of given names."""

    def __init__(self, names: Sequence[str], inputs: Sequence[tf.Tensor]) -> None:
        self._names = Names(inputs)
        self._wanted = set(names)
        self._graph = compat.current_graph()
        self.found: dict[str, tf.Tensor] = {}
        for tensor in inputs:
            self._keep(tensor)

    def before(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Looks at what comes out of functions of their own, which is seen only when it is read."""
        for value in arguments.values():
            if tf.is_tensor(value) and hasattr(value, "op"):
                self._keep(value)
        return arguments

    def after(self, operation: tf.Operation) -> None:
        """Keeps what an operation gives."""
        for tensor in operation.outputs:
            self._keep(tensor)

    def _keep(self, tensor: tf.Tensor) -> None:
        if tensor.graph is not self._graph:  # of a branch or loop, which nobody outside can read
            return
        if (name := self._names.of(tensor)) in self._wanted:
            self.found.setdefault(name, tensor)


def observe(
    model: Any,
    inputs: Any,
    names: Sequence[str],
    examples: Callable[[], Iterable[list[np.ndarray]]],
    method: Calibration = "min_max",
    *,
    logits: Collection[str] = (),
    answers: Collection[str] = (),
    with_folded: bool = True,
) -> dict[str, tuple[float, float]]:
    """Runs a model for inference and finds the ranges of some of its tensors.

    The data are read once for the lowest and highest values, several examples at a time, and once more for histograms
    where the method needs them.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, batch first.
        names: of tensors, out of `sites.Sites.activations`.
        examples: returns inputs, each a list of arrays in the structure's order.
        method: a name of `calibration.METHODS`.
        logits: those of the tensors that nothing but a softmax reads, see `softmaxes.resolved_logits`.
        answers: those of the tensors of which no method cuts anything off.
        with_folded: whether to look at what a converter multiplies into the next kernel, see `folded_forward`.

    Returns:
        name -> lowest and highest value.

    Raises:
        ValueError: if there is no example, or a tensor is not finite.
    """
    capture = _resolved(_capturing(model, inputs, names, with_folded), logits)
    bounds = bounds_of(capture, examples())
    spoiled = [name for name, pair in bounds.items() if not np.isfinite(pair).all()]
    if spoiled or not bounds:
        raise ValueError(
            "Representative data must have at least one example, for which the model is finite; correct them. "
            f"Received: {listed(spoiled) + ' not finite' if spoiled else 'no example'}."
        )
    if method == "min_max":
        return bounds
    histograms: dict[str, Histogram] = {}
    for values in _values(capture, examples):
        for name, value in values.items():
            found = Histogram.of(value, *bounds[name])
            histograms[name] = histograms[name] + found if name in histograms else found
    chosen = {name: METHODS[method](histogram) for name, histogram in histograms.items()}
    return chosen | {name: bounds[name] for name in answers if name in bounds}


def _values(
    capture: Callable[..., dict[str, tf.Tensor]], examples: Callable[[], Iterable[list[np.ndarray]]]
) -> Iterator[dict[str, np.ndarray]]:
    for example in examples():
        found = capture(*map(tf.constant, example))
        yield {name: value.numpy().astype(np.float32) for name, value in found.items()}


def _resolved(
    capture: Callable[..., dict[str, tf.Tensor]], logits: Collection[str]
) -> Callable[..., dict[str, tf.Tensor]]:
    """The same, without those logits that a softmax makes zero of."""
    if not logits:
        return capture

    def run(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        found = capture(*inputs)
        return {name: resolved_logits(value) if name in logits else value for name, value in found.items()}

    return run


def _capturing(model: Any, inputs: Any, names: Sequence[str], with_folded: bool) -> Callable[..., dict[str, tf.Tensor]]:
    """A function from inputs to tensors by name."""
    captures: list[_Capture] = []

    def watched(call: Any, *arguments: Any, **options: Any) -> Any:
        captures.append(_Capture(names, given_tensors(arguments, options)))
        with compat.watched_operations(captures[-1]):
            return call(*arguments, **options)

    def run(*flat: tf.Tensor) -> dict[str, tf.Tensor]:
        compat.infer(model, tf.nest.pack_sequence_as(inputs, list(flat)))
        found = captures[-1].found
        return found if with_folded else {name: one for name, one in found.items() if not folded_forward(one)}

    undos = [compat.around_call(model, watched), compat.unfuse(model)]
    try:
        with compat.float32_compute(model), compat.integer_forms():
            function = tf.function(run, autograph=compat.is_keras_2(model), input_signature=tf.nest.flatten(inputs))
            function.get_concrete_function()
    finally:
        for undo in undos:
            undo()
    return function
