"""step -> (should_prune, sparsity): tfmot's schedule classes, and any other form that users write a schedule in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.pruning.ramps import Ramp, StepRamp
from segopt_callbacks.rules import percent_for_fraction

if TYPE_CHECKING:
    from tensorflow_model_optimization.sparsity.keras import ConstantSparsity, PolynomialDecay

__all__ = [
    "AnySchedule",
    "ConstantSparsity",
    "PolynomialDecay",
    "Schedule",
    "as_schedule",
    "final_sparsity",
]

_BLOCK = 256  # steps that a schedule of tfmot's is asked about at once

Schedule = Callable[[Any], tuple[Any, Any]]
AnySchedule = float | Schedule | Ramp


def __getattr__(name: str) -> Any:
    """Tfmot's classes are looked up where they are used: it takes a second to import, and brings SciPy."""
    if name not in ("ConstantSparsity", "PolynomialDecay"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return compat.tfmot_schedule(name)


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
    if callable(schedule) and not isinstance(schedule, type):
        return _in_blocks(schedule) if compat.is_tfmot_schedule(schedule) else schedule
    if isinstance(schedule, bool) or not isinstance(schedule, int | float) or not 0.0 <= schedule < 1.0:
        raise ValueError(
            "`schedule` must be a fraction of zeros in [0, 1), or a callable step -> (should_prune, sparsity) such as "
            f"PolynomialDecay(...).{percent_for_fraction(schedule)} Received: schedule={schedule!r}."
        )
    return lambda step: (step == 0, float(schedule))


def _in_blocks(schedule: Schedule) -> Schedule:
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


def final_sparsity(schedule: Any) -> float | None:
    """The sparsity that a fraction, a ramp, or a schedule of tfmot's ends at; `None` for other callables.

    >>> from segopt_callbacks import PolynomialDecay
    >>> round(final_sparsity(PolynomialDecay(0.0, 0.8, begin_step=0, end_step=100)), 6)
    0.8
    """
    if isinstance(schedule, int | float):
        return float(schedule)
    if isinstance(schedule, Ramp | StepRamp):
        return None if callable(schedule.final_sparsity) else schedule.final_sparsity
    if not compat.is_tfmot_schedule(schedule):
        return None
    return float(schedule(max(getattr(schedule, "end_step", 0), getattr(schedule, "begin_step", 0)))[1])
