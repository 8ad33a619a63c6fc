"""Statistics of BatchNormalization, estimated anew from data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.model import require_model
from segopt_callbacks.rules import require_whole

_PROBE = 2.0**40  # a moving mean so large that what one batch adds to it is lost in rounding
_BATCH_SIZE = 32  # of arrays, as in Keras


def reestimate_batch_norm(model: Any, data: Any, *, batches: int | None = None) -> None:
    """Replaces the moving statistics of each BatchNormalization by averages over data, in place.

    Each becomes the mean of what Keras computes of every batch in training (Izmailov et al. 2018, section 3.2,
    https://arxiv.org/abs/1803.05407), each batch with the same weight. Nothing else changes: weights, frozen layers,
    random states and other statistics are as before.

    Args:
        model: a built Keras model with at least one BatchNormalization that is not frozen.
        data: a `tf.data.Dataset`, or another iterable of batches, each the inputs, `(inputs, targets)` or
            `(inputs, targets, weights)`; or arrays of inputs, which are read in batches of 32. As large as in training.
        batches: how many to read; needed for data without an end. Default: all.

    Raises:
        ValueError: for a model without a BatchNormalization to train, data that are empty or endless, or statistics
            that are not finite; the model is as before then.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
        >>> reestimate_batch_norm(model, np.array([[1.0, 2.0], [3.0, 6.0]], "float32"))
        >>> compat.read(model.layers[0].moving_mean).round(4).tolist()
        [2.0, 4.0]
    """
    require_model(model)
    validate_data(data, batches)
    layers = require_batch_norms(model)
    before = [(variable, compat.read(variable)) for variable in model.non_trainable_variables]
    try:
        fresh = _averages(model, layers, _inputs(data, batches))
    finally:
        for variable, value in before:
            compat.assign(variable, value)
    for variable, value in fresh:
        compat.assign(variable, value)


def validate_data(data: Any, batches: Any) -> None:
    """Checks what statistics are to be estimated from, without reading it.

    Raises:
        ValueError: for what is neither arrays nor batches of them, and for no number of batches.

    >>> validate_data(np.ones((8, 2)), None)
    """
    is_data = hasattr(data, "__iter__") or hasattr(data, "__getitem__")
    if not is_data or isinstance(data, str | bytes | os.PathLike):
        shown = repr(data) if data is None or isinstance(data, str) else type(data).__name__
        raise ValueError(
            "`data` must be what `fit` takes as `x`: arrays of inputs, or a tf.data.Dataset or another iterable of "
            f"batches. Received: data={shown}."
        )
    require_whole("batches", batches, 1, or_none=True)


def require_batch_norms(model: Any) -> list[Any]:
    """The layers whose statistics training updates.

    Raises:
        ValueError: if there are none.
    """
    layers = [layer for layer in compat.batch_norms(model) if layer.trainable]
    if not layers:
        raise ValueError(
            "Statistics can be estimated anew only where a BatchNormalization trains; leave this step out, or set "
            f"`trainable`. Received: {model.name!r}, which has {len(compat.batch_norms(model))}, all frozen."
        )
    return layers


def _averages(model: Any, layers: list[Any], inputs: Iterator[Any]) -> list[tuple[Any, np.ndarray]]:
    """The statistics and their means over all batches, of the layers that a training step updates."""
    run = compat.traced(lambda one: model(one, training=True), reduce_retracing=True)
    statistics = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
    sums: list[Any] = [0.0] * len(statistics)
    count = 0
    kept: list[float] = []
    for one in inputs:
        kept = kept or _shares_kept(run, one, layers)
        for variable in statistics:
            compat.assign(variable, np.zeros(variable.shape))
        run(one)
        sums = [
            total + compat.read(variable).astype(np.float64) for total, variable in zip(sums, statistics, strict=True)
        ]
        count += 1
    if not count:
        raise ValueError("`data` must have at least one batch to estimate statistics from. Received: none.")
    pairs = zip(statistics, sums, np.repeat(kept, 2), strict=True)
    fresh = [(variable, total / count / (1 - share)) for variable, total, share in pairs if share != 1]
    if not fresh:
        raise ValueError(
            "A training step must update statistics for them to be estimated; see that `call` hands `training` on. "
            f"Received: {model.name!r}, whose statistics none updates."
        )
    if not all(np.isfinite(value).all() for _, value in fresh):
        raise ValueError(
            "Statistics must be finite, but the model's answers to `data` are not; look for NaN in the data and the "
            f"weights. Received: {model.name!r}."
        )
    return fresh


def _shares_kept(run: Any, inputs: Any, layers: list[Any]) -> list[float]:
    """Which share of its statistics each layer keeps in one step, in [0, 1].

    Its `momentum` says so only for a layer that is called once, and for a `call` that was not traced before.
    """
    for layer in layers:
        compat.assign(layer.moving_mean, np.full(layer.moving_mean.shape, _PROBE))
    run(inputs)
    return [float(compat.read(layer.moving_mean).ravel()[0]) / _PROBE for layer in layers]


def _inputs(data: Any, batches: int | None) -> Iterator[Any]:
    dataset = data if _is_iterable_of_batches(data) else tf.data.Dataset.from_tensor_slices(data).batch(_BATCH_SIZE)
    is_endless = isinstance(dataset, tf.data.Dataset) and int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
    if is_endless and batches is None:
        raise ValueError("`batches` must be given for data without an end. Received: batches=None, a repeated Dataset.")
    for position, batch in enumerate(dataset):
        if position == batches:
            return
        yield batch[0] if isinstance(batch, tuple) else batch


def _is_iterable_of_batches(data: Any) -> bool:
    is_arrays = all(hasattr(one, "shape") for one in tf.nest.flatten(data))
    return isinstance(data, tf.data.Dataset) or not is_arrays
