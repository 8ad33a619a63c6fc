"""Models that are made of layers by Keras itself, taken apart and built anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.compat.kerases import is_keras_2


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer, or of an operation of Keras, in a functional or sequential model.

    Attributes:
        layer: what is called.
        reads: symbolic tensors of the model.
        answers: likewise.
        constants: what else it is given, flat; arrays where the caller wrote lists.
    """

    layer: Any
    reads: tuple[Any, ...]
    answers: tuple[Any, ...]
    constants: tuple[Any, ...]


def is_functional(model: Any) -> bool:
    """Whether Keras knows all layers of a built model, and how they hang together: functional or sequential."""
    if is_keras_2(model):
        return bool(getattr(model, "_is_graph_network", False))
    return hasattr(_network(model), "_nodes_by_depth")


def layer_calls(model: Any) -> Iterator[LayerCall]:
    """Every call of a layer in a functional or sequential model, inputs before outputs; not those of its inputs."""
    network = _network(model)
    for depth in sorted(network._nodes_by_depth, reverse=True):
        for one in network._nodes_by_depth[depth]:
            layer, given = (one.layer, [one.call_args, one.call_kwargs]) if is_keras_2(model) else _given(one)
            if type(layer).__name__ == "InputLayer":
                continue
            flat = tf.nest.flatten(given)
            read = [value for value in flat if hasattr(value, "_keras_history")]
            others = [value for value in flat if not hasattr(value, "_keras_history")]
            yield LayerCall(layer, tuple(read), tuple(tf.nest.flatten(one.output_tensors)), (*others, *_lists(given)))


def with_answers(model: Any, tensors: list[Any]) -> Any:
    """A model of the same layers that answers with symbolic tensors of theirs."""
    owner = _own_keras(model)
    return owner.Model(_network(model).inputs, tensors)


def cloned(model: Any, make: Callable[[Any], Any]) -> Any:
    """A functional or sequential model of other layers, not compiled.

    Args:
        model: left as it is.
        make: layer or operation -> what takes its place; asked once for each that is no input.
    """
    clone_model = _own_keras(model).models.clone_model
    if is_keras_2(model):
        return clone_model(model, clone_function=make)
    # It makes inputs of other names, and compiles: a loss of the user's own cannot be made again from its name.
    inputs = None if _network(model) is not model else tf.nest.map_structure(_input_like, model.input)
    was_compiled, model.compiled = model.compiled, False
    try:
        return clone_model(model, input_tensors=inputs, clone_function=make)
    finally:
        model.compiled = was_compiled


def kind_of(layer: Any) -> str:
    """The class of a layer or operation of Keras' own, of a function of TensorFlow its name; empty for all others."""
    if type(layer).__module__.partition(".")[0] not in ("keras", "tf_keras"):
        return ""
    kind = type(layer).__name__
    return f"tf.{layer.get_config()['function']}" if kind == "TFOpLambda" else kind


def _input_like(tensor: Any) -> Any:
    import keras as keras_3

    return keras_3.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor._keras_history.operation.name)


def _network(model: Any) -> Any:
    """What holds the nodes: of a sequential model in Keras 3 the functional one inside."""
    return getattr(model, "_functional", None) or model


def _given(node: Any) -> tuple[Any, list[Any]]:
    return node.operation, [node.arguments.args, node.arguments.kwargs]


def _lists(given: Any) -> Iterator[np.ndarray]:
    """The lists of numbers in a structure, which flattening takes apart."""
    if isinstance(given, dict):
        given = list(given.values())
    if not isinstance(given, list | tuple):
        return
    if given and all(isinstance(one, int | float) for one in given):
        yield np.asarray(given)
    for one in given:
        yield from _lists(one)


def _own_keras(model: Any) -> Any:
    if is_keras_2(model):
        import tf_keras

        return tf_keras
    import keras as keras_3

    return keras_3
