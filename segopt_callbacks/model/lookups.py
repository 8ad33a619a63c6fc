"""Tables whose rows are looked up: known by how the model reads them, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

from segopt_callbacks import compat

_GATHERS = {"ResourceGather", "ResourceGatherNd", "GatherV2", "Gather", "GatherNd"}
_SIZES = {"Shape", "VariableShape", "Size", "Rank"}  # read no values
_VIEWS = {"ReadVariableOp", "Identity", "Cast", "StopGradient"}


def looked_up(model: Any, weights: Iterable[Any]) -> set[int]:
    """Which weights are read by gathers alone when the model is run for inference.

    Args:
        model: a built Keras model.
        weights: candidates, of which the model is traced if there are any.

    Returns:
        `compat.identity` of each; nothing where the model does not say what it takes, or cannot be traced from that:
        then names decide alone.

    >>> from segopt_callbacks.compat import keras
    >>> layers = [keras.layers.Embedding(9, 4), keras.layers.Dense(2)]
    >>> model = keras.Sequential([keras.Input((3,), dtype="int32"), *layers])
    >>> [bool(looked_up(model, [weight])) for weight in model.weights]
    [True, False, False]
    """
    candidates = list(weights)
    specs = compat.model_input_specs(model) if candidates else None
    if specs is None:
        return set()
    try:
        with compat.float32_compute(model):
            _, _, captures = compat.inference_graph(model, specs)
    except ValueError:  # a subclassed model of Keras 3 that takes integers does not remember it
        return set()
    tables = {id(handle) for handle, inside in captures if _is_gathered(inside)}
    return {compat.identity(one) for one in candidates if id(compat.handle_of(one)) in tables}


def _is_gathered(tensor: tf.Tensor) -> bool:
    """Whether somebody reads the tensor's values, and only as the table of a gather."""
    return set(_reads(tensor)) == {True}


def _reads(tensor: tf.Tensor) -> Iterator[bool]:
    """For each operation that reads the tensor's values, or a view of it, whether it gathers from it."""
    for one in tensor.consumers():
        if one.type in _VIEWS:
            for given in one.outputs:
                yield from _reads(given)
        elif one.type not in _SIZES:
            yield one.type in _GATHERS and one.inputs[0] is tensor
