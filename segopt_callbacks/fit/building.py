"""A model that is about to be fitted: built from the data of the fit, where these are what it takes."""

from __future__ import annotations

import warnings
from typing import Any

import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.errors import first_line


def what_the_model_takes(model: Any, fed: Any) -> Any:
    """The inputs of a model, which is built from those of its fit if it must be.

    A model that trains others, such as a GAN, is fitted on data that its `call` does not take, or has no `call`: its
    weights may exist all the same.

    Args:
        model: before the first step of a fit.
        fed: structure of `tf.TensorSpec`, what the fit feeds to it.

    Returns:
        `fed`, with the sizes that only the model knows, or what it takes by its own account; `None` where that is not
        known, though it has its weights.

    Raises:
        ValueError: if the model has no weights, and cannot be built from what is fed to it.
    """
    if compat.is_built(model):
        own = compat.model_input_specs(model)
        return fed if own is None else _of_both(own, fed) if _is_alike(own, fed) else own
    try:
        compat.build_from_inputs(model, fed)
    except compat.converter_errors() as error:
        if compat.is_built_inside(model):
            return None
        raise ValueError(
            "A model whose `call` does not take the data of its fit must have its weights before; call the model once "
            "on what it takes first (without a `call`, the models inside it). "
            f"Received: {model.name!r}, not built, and data {fed}, on which it raises: {first_line(error)}"
        ) from error
    return fed


def _is_alike(own: Any, fed: Any) -> bool:
    """Whether both have as many arrays, of sizes that fit each other."""
    owned, given = tf.nest.flatten(own), tf.nest.flatten(fed)
    return len(owned) == len(given) and all(
        one.shape[1:].is_compatible_with(other.shape[1:]) for one, other in zip(owned, given, strict=True)
    )


def _of_both(own: Any, fed: Any) -> Any:
    """What is fed, of the sizes that either knows: data of open sizes may train a model of one size, and vice versa."""
    pairs = zip(tf.nest.flatten(own), tf.nest.flatten(fed), strict=True)
    return tf.nest.pack_sequence_as(fed, [_sized(one, other) for one, other in pairs])


def _sized(own: tf.TensorSpec, fed: Any) -> Any:
    if not isinstance(fed, tf.TensorSpec):  # ragged or sparse
        return fed
    batch = own.shape[:1] if fed.shape.rank is None else fed.shape[:1]
    return tf.TensorSpec(batch.concatenate(own.shape[1:].merge_with(fed.shape[1:])), fed.dtype)


def inputs_are_unknown(model: Any) -> ValueError:
    """What to raise where somebody must know what the model takes."""
    return ValueError(
        "A pattern, clustering behind a BatchNormalization, and training against rounding must know what the model "
        "takes; call the model once on its inputs first, train it by fit or train_on_batch, build it from keras.Input, "
        f"or cluster with fold_batch_norm=False. Received: {model.name!r}, whose inputs are not known."
    )


def weights_are_missing(model: Any) -> ValueError:
    """What to raise where a fit has ended without having built its model."""
    return ValueError(
        "A model must be built to be compressed; fit it for at least one step, or call it on data first. "
        f"Received: {model.name!r}, not built, and a fit without steps."
    )


def warn_of_no_end(model: Any) -> None:
    """Says that a fit begins where a loop was left attached."""
    warnings.warn(
        f"A loop over {model.name!r} never came to its end, where weights are finished and exported; it is left "
        "now, and the fit that begins trains every weight. Call on_train_end of its callbacks when a loop of your own "
        "ends.",
        stacklevel=4,
    )
