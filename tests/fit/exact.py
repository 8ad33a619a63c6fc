"""A fit that is watched: the exact zeros of every pruned weight, after every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from segopt_callbacks import PruningScheduleCallback, compat
from segopt_callbacks.compat import keras
from tests.conformance import BATCH, EPOCHS, IMAGES, LABELS, kernels

TARGETS = (0.5, 0.5, 0.5, 0.6, 0.7, 0.8)  # by step: held, raised three times, held


def target(step: int) -> float:
    """Fraction of zeros that the schedule asks for when `step` steps have run."""
    return TARGETS[min(step, len(TARGETS) - 1)]


def schedule(step: int) -> tuple[bool, float]:
    """Prunes at the beginning and wherever the target changes."""
    return step in (0, 3, 4, 5), target(step)


def expected(weights: dict[str, np.ndarray], sparsity: float) -> dict[str, int]:
    """Exact number of zeros of each weight; one value always stays."""
    return {path: min(round(sparsity * value.size), value.size - 1) for path, value in weights.items()}


class StepWatch(keras.callbacks.Callback):
    """Records how many steps have run and the zeros of each weight, whenever Keras ends a batch."""

    def __init__(self, weights: Callable[[Any], dict[str, np.ndarray]]) -> None:
        super().__init__()
        self.weights = weights
        self.step = self.epoch_start = 0
        self.seen: list[tuple[int, dict[str, int]]] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_start = self.step

    def on_train_batch_end(self, batch, logs=None):
        self.step = self.epoch_start + batch + 1
        zeros = {path: int((value == 0).sum()) for path, value in self.weights(self.model).items()}
        self.seen.append((self.step, zeros))


def fit_exactly(
    model: Any,
    *data: Any,
    weights: Callable[[Any], dict[str, np.ndarray]] = kernels,
    filters: Any = None,
    batch_size: int | None = BATCH,
    epochs: int = EPOCHS,
    constraint_runs: bool = True,
    **fit_args: Any,
) -> str:
    """Prunes `model` along `schedule` and asserts exact zeros before and behind the callback, after every step.

    Args:
        model: compiled.
        data: what `fit` takes first; default images and labels.
        weights: model -> path -> value of what must be pruned, by an enumeration of the tests' own.
        filters: of the callback.
        batch_size: of the fit.
        epochs: of the fit.
        constraint_runs: whether the training step itself keeps the zeros, as a callback ahead of ours sees them.
        fit_args: more for `fit`.

    Returns:
        the outcome, for the page.
    """
    before, behind = StepWatch(weights), StepWatch(weights)
    constraints = [compat.get_constraint(weight) for weight in model.trainable_weights] if model.built else []
    callbacks = [before, PruningScheduleCallback(schedule, filters), behind]
    arguments = {"batch_size": batch_size, "epochs": epochs, "shuffle": False, "verbose": 0, **fit_args}
    model.fit(*(data or (IMAGES, LABELS)), callbacks=callbacks, **arguments)

    values, last = weights(model), 0
    assert values
    assert behind.step >= 4
    for (step, kept_by_the_step), (_, behind_ours) in zip(before.seen, behind.seen, strict=True):
        assert not constraint_runs or kept_by_the_step == expected(values, target(last)), step
        assert behind_ours == expected(values, target(step)), step
        last = step
    assert {path: int((value == 0).sum()) for path, value in values.items()} == expected(values, target(last))
    now = [compat.get_constraint(weight) for weight in model.trainable_weights]
    assert now == (constraints or [None] * len(now))
    return f"exact, {behind.step} steps"
