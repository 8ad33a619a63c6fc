"""A pruned model of Keras -> the same without its dead channels, again a model of Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.channels import OUTPUT, Removal, remove_channels
from segopt_callbacks.errors import listed
from segopt_callbacks.model import signature
from segopt_callbacks.rules import require_verbose
from segopt_callbacks.shrinking.layers import held_by, takes_fewer, with_sizes

TOLERANCE = 1e-3  # of the largest answer: sums of fewer zeros are rounded elsewhere
HALF_TOLERANCE = 0.05  # where layers compute with 16 bits


def shrink_model(model: compat.Model, *, verbose: int = 1) -> compat.Model:
    """A smaller model with the answers of a functional or sequential one, some of whose channels are dead.

    Channels that are zero whatever the input leave their layers, and all that reads them: what `channel()` has pruned,
    and what exports leave out of their files. The smaller model is not compiled. Compile it, and train on.

    A layer of a class that is not Keras' own keeps what it reads and answers, and is named. So does one such as
    `Reshape`, whose configuration says numbers of channels in a way that is not known here.

    Args:
        model: a built functional or sequential model of Keras; not changed. Models inside it become smaller, too, if
            all their layers are known.
        verbose: 1 prints the parameters before and after, and which dead channels stay, and why.

    Returns:
        a new model with layers of the same names; of as many channels where none is dead.

    Raises:
        ValueError: if Keras does not know how the model's layers hang together, as in a subclassed model; or if a layer
            cannot be made from its configuration.
        RuntimeError: if the smaller model answers otherwise, to one example.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> first, second = keras.layers.Dense(4), keras.layers.Dense(2)
        >>> model = keras.Sequential([keras.Input((3,)), first, second])
        >>> first.set_weights([np.eye(3, 4), np.zeros(4)])  # its last channel is zero
        >>> smaller = shrink_model(model)
        parameters: 26 before, 20 after
        >>> [layer.units for layer in smaller.layers]
        [3, 2]
    """
    require_verbose(verbose)
    _require_functional(model)
    frozen, cut, removal = _found(model)
    values = {id(frozen.weights[path]): variable.numpy() for path, variable in cut.weights.items()}
    shapes = {key: value.shape for key, value in values.items()}
    with compat.strategy_scope(model):
        smaller = compat.cloned(model, lambda layer: with_sizes(layer, shapes))
    for one, other in zip(model.weights, smaller.weights, strict=True):
        compat.assign(other, values.get(compat.identity(one), compat.read(one)))
    _require_same_answers(model, smaller)
    if verbose:
        _tell(removal)
    return smaller


def _found(model: Any) -> tuple[signature.Frozen, signature.Frozen, Removal]:
    """The model's function, the same without dead channels, and what was removed.

    What layers read and answer that keep all channels are answers of the function, which keep theirs.
    """
    calls = list(compat.layer_calls(model))
    unknown = [call for call in calls if not takes_fewer(call)]
    owned = [(call.layer.name, one) for call in calls for one in held_by(call)]
    held = [tensor for _, tensor in owned]
    watched = compat.with_answers(model, [*tf.nest.flatten(model.outputs), *held])
    frozen = signature.freeze(watched, compat.model_input_specs(watched), batch_size=None)
    inside = {compat.identity(one) for call in unknown for one in getattr(call.layer, "variables", ())}
    paths = [path for path, variable in frozen.weights.items() if id(variable) in inside]
    cut, removal = remove_channels(frozen, whole=paths)
    ports = frozen.outputs[len(frozen.outputs) - len(held) :]
    names = {port.name: name for port, (name, _) in zip(ports, owned, strict=True)}
    left = [(name, count, _why(reason, names)) for name, count, reason in removal.left]
    return frozen, cut, replace(removal, left=tuple(left))


def _why(reason: str, layers: Mapping[str, str]) -> str:
    """A reason, in which what looks like an output of the model is the layer that keeps its channels."""
    name = layers.get(reason.removeprefix(OUTPUT))
    return reason if name is None else f"{name} cannot be made again for fewer"


def _tell(removal: Removal) -> None:
    before, after = removal.parameters
    print(f"parameters: {before:,} before, {after:,} after")
    for why in dict.fromkeys(reason for _, _, reason in removal.left):
        found = {name: count for name, count, reason in removal.left if reason == why}
        print(f"{sum(found.values())} dead channels of {listed(found)} stay: {why}")


def _require_functional(model: Any) -> None:
    signature.require_built(model)
    if not compat.is_functional(model):
        raise ValueError(
            "A model must be functional or sequential to shrink: of others Keras does not know how the layers hang "
            "together. Export it with export_model, whose files lose the channels of any model. "
            f"Received: {model.name!r} of {type(model).__name__}."
        )


def _require_same_answers(model: Any, smaller: Any) -> None:
    """Compares the answers to one example; where sizes are open, there is none."""
    specs = compat.model_input_specs(model)
    if any(None in spec.shape[1:].as_list() for spec in tf.nest.flatten(specs)):
        return
    random = np.random.default_rng(0)
    example = tf.nest.map_structure(lambda spec: _example(spec, random), specs)
    with compat.kept_state(model), compat.kept_state(smaller):
        ours, theirs = (tf.nest.flatten(compat.infer(one, example)) for one in (smaller, model))
    for one, other in zip(ours, theirs, strict=True):
        found, expected = (np.asarray(tf.cast(value, tf.float32)) for value in (one, other))
        tolerance = TOLERANCE if other.dtype in (tf.float32, tf.float64) else HALF_TOLERANCE
        largest = max(np.abs(expected).max(initial=0), np.finfo(np.float32).tiny)
        apart = np.abs(found - expected).max(initial=0) / largest
        if not apart <= tolerance:
            raise RuntimeError(
                "A smaller model must answer as the whole one. Export the model with export_model, and report this. "
                f"Received: {model.name!r}, whose answers differ by {apart:.2g} of the largest."
            )


def _example(spec: tf.TensorSpec, random: np.random.Generator) -> tf.Tensor:
    shape = [1 if size is None else size for size in spec.shape]
    if spec.dtype.is_floating:
        return tf.constant(random.uniform(size=shape), spec.dtype)
    return tf.zeros(shape, spec.dtype)
