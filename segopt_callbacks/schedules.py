"""step -> (should_prune, sparsity). tfmot's schedule classes, and what reads any of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from segopt_callbacks import compat  # noqa: F401  (resolves tf.keras, before tfmot sets TF_USE_LEGACY_KERAS)

_legacy = os.environ.get("TF_USE_LEGACY_KERAS")
try:
    from tensorflow_model_optimization.sparsity.keras import ConstantSparsity, PolynomialDecay, PruningSchedule
finally:
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    if _legacy is not None:
        os.environ["TF_USE_LEGACY_KERAS"] = _legacy

__all__ = ["ConstantSparsity", "PolynomialDecay", "Schedule", "as_schedule", "final_sparsity", "last_update"]

Schedule = Callable[[Any], tuple[Any, Any]]


def as_schedule(schedule: float | Schedule) -> Schedule:
    """Any form that users write a schedule in -> a callable `step -> (should_prune, sparsity)`.

    Args:
        schedule: a fraction of zeros in [0, 1) (pruned at step 0, then held), or a callable; tfmot's
            `PruningSchedule` objects are such callables.

    Returns:
        the callable. tfmot's are compiled: they consist of tensor operations, slow one by one.

    Raises:
        ValueError: if it is neither, or a fraction outside [0, 1).

    >>> as_schedule(0.8)(0), as_schedule(0.8)(7)
    ((True, 0.8), (False, 0.8))
    """
    if isinstance(schedule, PruningSchedule):
        compiled = tf.function(schedule.__call__)
        return lambda step: compiled(tf.constant(step, tf.int64))
    if callable(schedule):
        return schedule
    if isinstance(schedule, bool) or not isinstance(schedule, int | float) or not 0.0 <= schedule < 1.0:
        raise ValueError(
            "`schedule` must be a fraction of zeros in [0, 1), or a callable step -> (should_prune, sparsity) such as "
            f"PolynomialDecay(...). Received: schedule={schedule!r}."
        )
    return lambda step: (step == 0, float(schedule))


def final_sparsity(schedule: Any) -> float | None:
    """The sparsity that a schedule of tfmot's ends at, a fraction of zeros; `None` for other callables.

    >>> round(final_sparsity(PolynomialDecay(0.0, 0.8, begin_step=0, end_step=100)), 6)
    0.8
    """
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
