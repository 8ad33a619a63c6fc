"""A model and data -> its metrics, as often as somebody changes its weights, and traced once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.data.batches import Batches
from segopt_callbacks.data.forms import (
    as_evaluation_data,
    evaluation_batches,
    has_targets,
    leaves,
    validate_evaluation_data,
)
from segopt_callbacks.data.metrics import MetricStates, validate_metrics

_BATCH_SIZE = 32  # of arrays, as in Keras
_NOW = "model"  # the artifact that metrics are computed for


def validate_evaluation(
    evaluation_data: Any, metrics: Mapping[str, Any] | None, max_examples: int | None, batch_size: int | None
) -> None:
    """Checks the arguments of `Evaluation` before there is a model.

    Raises:
        ValueError: for one outside its range.

    >>> validate_evaluation((np.zeros((2, 4)), np.zeros(2)), None, None, None)
    """
    validate_evaluation_data(evaluation_data)
    if not has_targets(evaluation_data):
        raise ValueError(
            "`evaluation_data` must hold targets for metrics to be computed; pass (x, y), (x, y, sample_weight) or a "
            f"tf.data.Dataset of them. Received: {'None' if evaluation_data is None else 'no targets'}."
        )
    validate_metrics(metrics)
    if metrics is not None and not metrics:
        raise ValueError("`metrics` must name at least one metric; leave it out for the compiled ones. Received: {}.")
    for name, value in (("max_examples", max_examples), ("batch_size", batch_size)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"`{name}` must be a whole number, at least 1, or None. Received: {name}={value!r}.")
    if batch_size is not None and not isinstance(as_evaluation_data(evaluation_data), tuple):
        raise ValueError(
            "`batch_size` is for arrays, a dataset has batches of its own; leave it out. "
            f"Received: batch_size={batch_size} and a {type(evaluation_data).__name__}."
        )


class Evaluation:
    """Metrics of a model, as its weights are now.

    Args:
        model: a built Keras model.
        evaluation_data: what `fit` takes as `validation_data`.
        metrics: name -> Keras metric; `None` for what `evaluate` gives: the loss and the compiled metrics.
        max_examples: how many examples are used, the first ones; `None` for all.
        batch_size: of arrays.

    Attributes:
        examples: how many there are.

    Raises:
        ValueError: for a model that is not compiled, where `metrics` is `None`, an argument outside its range, or a
            dataset without any example.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_initializer="zeros")])
        >>> data = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")
        >>> Evaluation(model, data, {"mse": keras.metrics.MeanSquaredError()}).run()
        {'mse': 1.0}
    """

    def __init__(
        self,
        model: Any,
        evaluation_data: Any,
        metrics: Mapping[str, Any] | None = None,
        *,
        max_examples: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        validate_evaluation(evaluation_data, metrics, max_examples, batch_size)
        if metrics is None and not compat.is_compiled(model):
            raise ValueError(
                "The model must be compiled for its own metrics to be computed; compile it, or pass `metrics`. "
                f"Received: {model.name!r}, not compiled, and metrics=None."
            )
        self._model = model
        self._metrics = metrics
        self._data, self.examples = _first(evaluation_data, max_examples)
        self._batch_size = batch_size or _BATCH_SIZE
        self._left_out: set[str] = set()
        traced = compat.traced(self._infer, autograph=compat.is_keras_2(model), reduce_retracing=True)
        self._answers = self._infer if compat.runs_eagerly(model) else traced

    def run(self) -> dict[str, float]:
        """Name -> value, of the metrics that are one number; NaN where one has no value."""
        results = self._evaluate() if self._metrics is None else self._compute(self._metrics)
        numbers = {name: one for name, one in results.items() if np.ndim(one) == 0 and not isinstance(one, Mapping)}
        left_out = results.keys() - numbers.keys() - self._left_out
        if left_out:
            self._left_out |= left_out
            warnings.warn(
                f"Metrics of more than one number are left out; pass one for each: {', '.join(sorted(left_out))}.",
                stacklevel=2,
            )
        return {name: math.nan if value is None else float(value) for name, value in numbers.items()}

    def _evaluate(self) -> dict[str, Any]:
        if isinstance(self._data, tf.data.Dataset):
            return dict(self._model.evaluate(self._data, verbose=0, return_dict=True))
        x, y, sample_weight = (*self._data, None)[:3]
        options = {"sample_weight": sample_weight, "batch_size": self._batch_size}
        return dict(self._model.evaluate(x, y, verbose=0, return_dict=True, **options))

    def _compute(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        with MetricStates(metrics) as states:
            for x, y, sample_weight in evaluation_batches(self._data, self._batch_size):
                answers = self._answers(tf.nest.map_structure(tf.convert_to_tensor, x))
                states.update(_NOW, y, answers, sample_weight)
            return states.result(_NOW)

    def _infer(self, x: Any) -> Any:
        return compat.infer(self._model, x)


def _first(data: Any, limit: int | None) -> tuple[Any, int]:
    """The first examples of evaluation data, and how many they are."""
    data = as_evaluation_data(data)
    if isinstance(data, Batches):
        data = data.as_dataset()
    if not isinstance(data, tf.data.Dataset):
        if limit is not None:
            data = tuple(tf.nest.map_structure(lambda one: None if one is None else one[:limit], part) for part in data)
        return data, len(leaves(data[0])[0])
    if limit is not None:
        batch = next(iter(data), None)
        size = 1 if batch is None else len(leaves(batch)[0])
        data = data.unbatch().take(limit).batch(size).cache()  # read once
    sizes = [len(leaves(x)[0]) for x, _, _ in evaluation_batches(data)]
    if not sizes:
        raise ValueError("`evaluation_data` must have at least one example. Received: an empty dataset.")
    # Keras 3 warns of data of unknown length, in every evaluation.
    return data.apply(tf.data.experimental.assert_cardinality(len(sizes))), sum(sizes)
