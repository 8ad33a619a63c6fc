"""step -> (should_prune, sparsity): tfmot's schedule classes, ramps in a user's units, and what reads any of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat

with compat.importing_tfmot():
    from tensorflow_model_optimization.sparsity.keras import ConstantSparsity, PolynomialDecay, PruningSchedule

__all__ = [
    "ConstantSparsity",
    "PolynomialDecay",
    "Ramp",
    "Schedule",
    "Timeline",
    "as_schedule",
    "final_sparsity",
    "last_update",
    "ramp_by_epoch",
    "ramp_by_fraction",
]

_BLOCK = 256  # steps that a schedule of tfmot's is asked about at once

Schedule = Callable[[Any], tuple[Any, Any]]


def as_schedule(schedule: float | Schedule) -> Schedule:
    """Any form that users write a schedule in -> a callable `step -> (should_prune, sparsity)`.

    Args:
        schedule: a fraction of zeros in [0, 1) (pruned at step 0, then held), or a callable; tfmot's
            `PruningSchedule` objects are such callables.

    Returns:
        the callable. tfmot's consist of tensor operations, which cost a training step 1% of its time if asked one
        by one: many steps are asked at once.

    Raises:
        ValueError: if it is neither, or a fraction outside [0, 1).

    >>> as_schedule(0.8)(0), as_schedule(0.8)(7)
    ((True, 0.8), (False, 0.8))
    """
    if isinstance(schedule, PruningSchedule):
        return _in_blocks(schedule)
    if callable(schedule):
        return schedule
    if isinstance(schedule, bool) or not isinstance(schedule, int | float) or not 0.0 <= schedule < 1.0:
        raise ValueError(
            "`schedule` must be a fraction of zeros in [0, 1), or a callable step -> (should_prune, sparsity) such as "
            f"PolynomialDecay(...). Received: schedule={schedule!r}."
        )
    return lambda step: (step == 0, float(schedule))


def _in_blocks(schedule: PruningSchedule) -> Schedule:
    def answers(first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def answer(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            should_prune, sparsity = schedule(step)
            return tf.cast(should_prune, tf.bool), tf.cast(sparsity, tf.float32)

        return tf.map_fn(answer, first + tf.range(_BLOCK, dtype=tf.int64), fn_output_signature=(tf.bool, tf.float32))

    @functools.cache
    def compiled() -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        # Traced by itself: TensorFlow warns of a tf.function that it sees traced anew for fit after fit.
        return tf.function(answers).get_concrete_function(tf.TensorSpec((), tf.int64))

    @functools.lru_cache(maxsize=2)
    def block(number: int) -> tuple[np.ndarray, np.ndarray]:
        should_prune, sparsity = compiled()(tf.constant(number * _BLOCK, tf.int64))
        return should_prune.numpy(), sparsity.numpy()

    def ask(step: int) -> tuple[bool, float]:
        should_prune, sparsity = block(step // _BLOCK)
        return bool(should_prune[step % _BLOCK]), float(sparsity[step % _BLOCK])

    return ask


@dataclass(frozen=True)
class Ramp:
    """See `ramp_by_epoch` and `ramp_by_fraction`."""

    final_sparsity: float
    begin: float
    end: float
    unit: str
    initial_sparsity: float = 0.0
    power: float = 3.0
    updates: int = 20

    def __post_init__(self) -> None:
        for name in ("initial_sparsity", "final_sparsity"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(
                    f"`{name}` must be a fraction of zeros, in [0, 1). Received: {name}={getattr(self, name)}."
                )
        if not 0.0 <= self.begin < self.end <= (1.0 if self.unit == "fraction" else float("inf")):
            rule = "fractions of the training, 0 <= begin < end <= 1" if self.unit == "fraction" else "0 <= begin < end"
            raise ValueError(f"`begin` and `end` must be {rule}. Received: begin={self.begin}, end={self.end}.")
        if self.power <= 0 or self.updates < 1:
            raise ValueError(
                "`power` must be above 0 and `updates` at least 1. "
                f"Received: power={self.power}, updates={self.updates}."
            )

    def in_steps(self, steps_per_epoch: int | None, epochs: int) -> StepRamp:
        """The ramp for a fit whose length is known.

        Raises:
            ValueError: if it is not.
        """
        if not steps_per_epoch:
            raise ValueError(
                "A ramp in epochs or fractions needs to know the steps of an epoch; give `steps_per_epoch` to fit, "
                "or use PolynomialDecay, which counts in steps. Received: data of unknown length."
            )
        scale = steps_per_epoch * (epochs if self.unit == "fraction" else 1)
        begin = round(self.begin * scale)
        end = max(round(self.end * scale), begin + 1)
        raises = {begin + round(number * (end - begin) / self.updates) for number in range(self.updates + 1)}
        return StepRamp(self.initial_sparsity, self.final_sparsity, begin, end, self.power, frozenset(raises))


@dataclass(frozen=True)
class StepRamp:
    """A polynomial ramp in steps: `final + (initial - final) * (1 - (step - begin) / (end - begin)) ** power`."""

    initial_sparsity: float
    final_sparsity: float
    begin_step: int
    end_step: int
    power: float
    raises: frozenset[int]

    def __call__(self, step: int) -> tuple[bool, float]:
        progress = min(max((step - self.begin_step) / (self.end_step - self.begin_step), 0.0), 1.0)
        left = (self.initial_sparsity - self.final_sparsity) * (1 - progress) ** self.power
        return step in self.raises, self.final_sparsity + left


def ramp_by_epoch(
    final_sparsity: float,
    begin: float,
    end: float,
    *,
    initial_sparsity: float = 0.0,
    power: float = 3.0,
    updates: int = 20,
) -> Ramp:
    """Raises the sparsity between two epochs, `PolynomialDecay` in a user's own unit.

    Args:
        final_sparsity: fraction of zeros from `end` on, in [0, 1).
        begin: when pruning begins, in epochs from the beginning of the fit; 0.5 is the middle of the first one.
        end: when `final_sparsity` is reached, in epochs.
        initial_sparsity: fraction of zeros at `begin`, in [0, 1).
        power: of the polynomial; 3 prunes most at the beginning (Zhu and Gupta 2017).
        updates: how often the sparsity is raised, evenly over the ramp.

    Raises:
        ValueError: for an argument outside its range.

    >>> ramp_by_epoch(0.5, begin=1, end=3).in_steps(steps_per_epoch=10, epochs=5)(20)
    (True, 0.4375)
    """
    return Ramp(final_sparsity, begin, end, "epoch", initial_sparsity, power, updates)


def ramp_by_fraction(
    final_sparsity: float,
    begin: float = 0.1,
    end: float = 0.6,
    *,
    initial_sparsity: float = 0.0,
    power: float = 3.0,
    updates: int = 20,
) -> Ramp:
    """Raises the sparsity over a part of the training; see `ramp_by_epoch`.

    Args:
        final_sparsity: fraction of zeros from `end` on, in [0, 1).
        begin: when pruning begins, as a fraction of the training in [0, 1].
        end: when `final_sparsity` is reached, as a fraction of the training; the rest recovers.
        initial_sparsity: fraction of zeros at `begin`, in [0, 1).
        power: of the polynomial; 3 prunes most at the beginning.
        updates: how often the sparsity is raised, evenly over the ramp.

    Raises:
        ValueError: for an argument outside its range.

    >>> ramp_by_fraction(0.8, 0.0, 0.5).in_steps(steps_per_epoch=10, epochs=4)(20)
    (True, 0.8)
    """
    return Ramp(final_sparsity, begin, end, "fraction", initial_sparsity, power, updates)


def final_sparsity(schedule: Any) -> float | None:
    """The sparsity that a fraction, a ramp, or a schedule of tfmot's ends at; `None` for other callables.

    >>> round(final_sparsity(PolynomialDecay(0.0, 0.8, begin_step=0, end_step=100)), 6)
    0.8
    """
    if isinstance(schedule, int | float):
        return float(schedule)
    if isinstance(schedule, Ramp | StepRamp):
        return schedule.final_sparsity
    if not isinstance(schedule, PruningSchedule):
        return None
    return float(schedule(max(getattr(schedule, "end_step", 0), getattr(schedule, "begin_step", 0)))[1])


def last_update(schedule: Schedule, after: int, upto: int, *, end_step: int | None = None) -> float | None:
    """The sparsity that the schedule sets last in the steps `after < step <= upto`.

    Each step is asked, since several pass between two batches with `steps_per_execution`. `end_step` counts as a step
    to prune at although no multiple of the schedule's frequency may meet it; the final sparsity is reached that way. No
    later step is asked.

    Args:
        schedule: callable `step -> (should_prune, sparsity)`.
        after: last step asked before.
        upto: optimizer updates made by now.
        end_step: the schedule's own last step; `None` or negative if it goes on.

    Returns:
        fraction of zeros in [0, 1), or `None` if the schedule prunes at none of these steps.

    Raises:
        ValueError: if the schedule returns something else.

    >>> last_update(lambda step: (step % 4 == 0, step / 100), after=3, upto=11)
    0.08
    """
    if end_step is not None and end_step >= 0:
        upto = min(upto, end_step)
    for step in range(upto, after, -1):
        try:
            should_prune, sparsity = schedule(step)
            should_prune, sparsity = bool(should_prune), float(sparsity)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"A schedule must return (should_prune, sparsity) for every step. Received: {schedule(step)!r} at step "
                f"{step}."
            ) from error
        if not 0.0 <= sparsity < 1.0:
            raise ValueError(
                "A schedule's sparsity must be a fraction of zeros in [0, 1). "
                f"Received: sparsity={sparsity} at step {step}."
            )
        if should_prune or step == end_step:
            return sparsity
    return None


class Timeline:
    """One schedule through one fit.

    Args:
        schedule: in any form that users write it in.
        steps_per_epoch: `None` where it is not known.
        epochs: of the fit.

    Raises:
        ValueError: if the schedule needs `steps_per_epoch`.

    >>> timeline = Timeline(ramp_by_epoch(0.5, 0, 1, updates=2), steps_per_epoch=4, epochs=1)
    >>> [timeline.due(step) for step in range(5)]
    [0.0, None, 0.4375, None, 0.5]
    """

    def __init__(self, schedule: Any, *, steps_per_epoch: int | None, epochs: int) -> None:
        if isinstance(schedule, Ramp):
            schedule = schedule.in_steps(steps_per_epoch, epochs)
        self._schedule = as_schedule(schedule)
        self._asked_until = -1
        end_step = getattr(schedule, "end_step", None)
        self.end_step: int | None = end_step if end_step is not None and end_step >= 0 else None
        self.final_sparsity = final_sparsity(schedule)
        self._target = self.final_sparsity
        self._sparsity, self._since = -1.0, 0

    @property
    def sparsity(self) -> float:
        """The fraction of zeros that `due` has asked for last; 0 before."""
        return max(self._sparsity, 0.0)

    def due(self, step: int) -> float | None:
        """The sparsity to prune to now, if the schedule has asked for one since it was asked last."""
        after, self._asked_until = self._asked_until, step
        sparsity = last_update(self._schedule, after, step, end_step=self.end_step)
        if sparsity is not None and sparsity != self._sparsity:
            self._sparsity, self._since = sparsity, step
        return sparsity

    def at_target_since(self, last_step: int | None) -> int | None:
        """The step since which `due` has asked for the final sparsity; `None` before.

        Args:
            last_step: of the fit; what any callable asks for last up to there is its final sparsity.

        Raises:
            ValueError: if neither the schedule nor `last_step` tells.

        >>> timeline = Timeline(0.8, steps_per_epoch=4, epochs=1)
        >>> timeline.at_target_since(None), timeline.due(0), timeline.at_target_since(None)
        (None, 0.8, 0)
        """
        if self._target is None:
            if last_step is None:
                raise ValueError(
                    'The final sparsity must be known for "best" to count at it; give `steps_per_epoch` to fit (or '
                    "`epochs` and `steps` to the CallbackList), or use PolynomialDecay. Received: a schedule that does "
                    "not tell, and a fit of unknown length."
                )
            self._target = self.reached(last_step)
        return self._since if abs(self._sparsity - self._target) <= 1e-6 else None

    def reached(self, step: int) -> float:
        """The sparsity that a fit of so many steps leads to."""
        return last_update(self._schedule, -1, step, end_step=self.end_step) or 0.0
