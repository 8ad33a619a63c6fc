"""One schedule through one fit: what it asks for at each step, where it ends."""

from __future__ import annotations

from typing import Any

from segopt_callbacks.pruning.ramps import Ramp
from segopt_callbacks.pruning.schedules import Schedule, as_schedule, final_sparsity


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

    >>> from segopt_callbacks.pruning.ramps import ramp_by_epoch
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
