"""What will be computed when a fit has ended, tried on one batch before its first step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.data import forms
from segopt_callbacks.data.batches import Batches
from segopt_callbacks.data.metrics import MetricStates
from segopt_callbacks.errors import first_line

_TRIAL = "trial"  # the artifact that metrics are computed for


def rehearse(
    model: Any, evaluation_data: Any, metrics: Mapping[str, Any] | None = None, *, evaluates: bool = False
) -> None:
    """Runs a model on the first batch of evaluation data, and computes the metrics of its answers.

    The model, and the state of the metrics, are as before.

    Args:
        model: a built Keras model, trained or not.
        evaluation_data: in any form; `None` for none.
        metrics: name -> Keras metric.
        evaluates: whether the model's own loss and metrics are computed too.

    Raises:
        ValueError: if the data are not what the model takes, or a metric does not take its answers and the targets.
    """
    if evaluation_data is None:
        return
    evaluation_data = forms.as_evaluation_data(evaluation_data)
    if isinstance(evaluation_data, Batches):
        evaluation_data.hold()
    batch = next(forms.evaluation_batches(evaluation_data), None)
    if batch is None:
        raise ValueError("`evaluation_data` must have at least one example. Received: no batch.")
    require_sound(batch)
    x, y, sample_weight = batch
    _require_batches(model, x)
    with unchanged(model):
        answers = _answers(model, x)
        for name, metric in (metrics or {}).items():
            _try_metric(name, metric, y, answers, sample_weight)
        if evaluates:
            _try_evaluation(model, batch)


@contextlib.contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """Puts the variables that do not train back: statistics, states, random seeds."""
    before = [(variable, compat.read(variable)) for variable in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in before:
            if not np.array_equal(compat.read(variable), value):
                compat.assign(variable, value)


def require_sound(batch: tuple[Any, Any, Any], name: str = "evaluation_data") -> None:
    """Checks that inputs, targets and weights are as many, and inputs finite.

    Raises:
        ValueError: if they are not.

    >>> require_sound((np.zeros((2, 3)), np.zeros(2), None))
    """
    parts = [[one for one in forms.leaves(part) if one is not None] for part in batch]
    if len({np.shape(one)[:1] for part in parts for one in part}) > 1:
        told = ", ".join(
            f"{label} {', '.join(str(np.shape(one)) for one in part)}"
            for label, part in zip(("x", "y", "sample_weight"), parts, strict=True)
            if part
        )
        raise ValueError(f"`{name}` must have as many targets and weights as inputs. Received: a batch of {told}.")
    for one in parts[0]:
        if np.asarray(one).dtype.kind == "f" and not np.isfinite(one).all():
            count = int(np.count_nonzero(~np.isfinite(one)))
            raise ValueError(
                f"`{name}` must be finite; look at how its inputs are read and scaled. "
                f"Received: inputs {np.shape(one)} with {count} values NaN or infinite."
            )


def _pairs(model: Any, x: Any) -> list[tuple[tf.TensorSpec, Any]]:
    """What the model takes, as far as it says so, and what is fed to it."""
    specs = compat.model_input_specs(model)
    taken, fed = tf.nest.flatten(specs), forms.leaves(x)
    return [] if specs is None or len(taken) != len(fed) else list(zip(taken, fed, strict=True))


def _require_batches(model: Any, x: Any) -> None:
    for spec, leaf in _pairs(model, x):
        if spec.shape.rank is not None and np.ndim(leaf) == spec.shape.rank - 1:
            raise ValueError(
                "`evaluation_data` must come in batches; call .batch(n) on a dataset. "
                f"Received: inputs {np.shape(leaf)} for {tuple(spec.shape)}."
            )


def _require_sizes(model: Any, x: Any) -> None:
    for spec, leaf in _pairs(model, x):
        if not spec.shape[1:].is_compatible_with(np.shape(leaf)[1:]):
            is_channels = spec.shape[-1] not in (None, np.shape(leaf)[-1])
            rule = "the number of channels" if is_channels else "the sizes"
            raise ValueError(
                f"`evaluation_data` must have {rule} that the model takes; convert its inputs. "
                f"Received: inputs {np.shape(leaf)} for {tuple(spec.shape)}."
            )


def _answers(model: Any, x: Any) -> Any:
    def run(inputs: Any) -> Any:
        return compat.infer(model, inputs)

    # Traced: what draws random numbers takes none of those that the fit will draw.
    traced = compat.traced(run, autograph=compat.is_keras_2(model))
    try:
        return (run if compat.runs_eagerly(model) else traced)(tf.nest.map_structure(tf.convert_to_tensor, x))
    except compat.converter_errors() as error:
        _require_sizes(model, x)
        raise ValueError(
            "`evaluation_data` must be what the model takes; see its shapes and dtypes. Received: inputs "
            f"{tf.nest.map_structure(lambda one: (np.shape(one), str(one.dtype)), x)}, on which it raises: "
            f"{first_line(error)}"
        ) from error


def _try_metric(name: str, metric: Any, y: Any, answers: Any, sample_weight: Any) -> None:
    try:
        with MetricStates({name: metric}) as states:
            states.update(_TRIAL, y, answers, sample_weight)
            states.result(_TRIAL)
    except compat.converter_errors() as error:
        shapes = [tf.nest.map_structure(np.shape, part) for part in (y, answers)]
        is_of_classes = getattr(metric, "sparse_y_pred", False)
        remedy = "pass sparse_y_pred=False for scores of classes" if is_of_classes else "choose one that does"
        raise ValueError(
            f"`metrics` must take the targets and the model's answers; {remedy}. Received: {name!r}: "
            f"{type(metric).__name__}, targets {shapes[0]}, answers {shapes[1]}, on which it raises: "
            f"{first_line(error)}"
        ) from error


def _try_evaluation(model: Any, batch: tuple[Any, Any, Any]) -> None:
    x, y, sample_weight = batch
    compat.drop_inference_functions(model)
    eagerly, model.run_eagerly = model.run_eagerly, True  # one batch is not worth a trace
    try:
        model.evaluate(x, y, sample_weight=sample_weight, batch_size=len(forms.leaves(x)[0]), verbose=0)
    except compat.converter_errors() as error:
        raise ValueError(
            "`evaluation_data` must be what the model's own loss and metrics take; see its targets, or pass `metrics`. "
            f"Received: targets {tf.nest.map_structure(np.shape, y)}, on which `evaluate` raises: {first_line(error)}"
        ) from error
    finally:
        model.run_eagerly = eagerly
        compat.drop_inference_functions(model)
