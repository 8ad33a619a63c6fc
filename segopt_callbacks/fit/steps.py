"""Which step of its run a fit has come to, resumed or not."""

from __future__ import annotations

import warnings


def resumed_step(epoch: int, steps_per_epoch: int | None, updates: int, updates_before_fit: int) -> int:
    """How many steps of its run a fit has behind it when its first epoch begins.

    Args:
        epoch: the number of that epoch.
        steps_per_epoch: `None` or 0 where it is not known.
        updates: the optimizer's count now, after every `on_train_begin`.
        updates_before_fit: the optimizer's count when `fit` was called.

    Returns:
        the step, 0 for a new run. What `BackupAndRestore` brought back counts from the beginning of its run. For a
        model that was restored before the fit, epochs tell the step; its count does where their length is unknown, and
        where it lies inside `epoch`: the checkpoint is from there. Otherwise the model was trained before that run.

    >>> resumed_step(2, 10, updates=23, updates_before_fit=23), resumed_step(2, 10, updates=523, updates_before_fit=523)
    (23, 20)
    """
    brought_back = updates - updates_before_fit
    if brought_back > 0:
        return max(brought_back, epoch * (steps_per_epoch or 0))
    if not epoch and not brought_back:
        return 0
    if not steps_per_epoch:
        return updates
    begin = epoch * steps_per_epoch
    return updates if begin <= updates < begin + steps_per_epoch else begin


class Steps:
    """Counts optimizer steps from the beginning of the run.

    Attributes:
        now: steps so far; those of the run that a resumed fit continues among them.
        epoch: the number of the epoch; `None` before the first.
        epoch_start: the step at which the epoch began.

    Args:
        updates_before_fit: the optimizer's count when `fit` was called, before anything was restored.

    >>> steps = Steps(0)
    >>> steps.begin_epoch(0, steps_per_epoch=4, updates=0)
    >>> steps.end_batch(0), steps.end_batch(1)
    (1, 2)
    """

    def __init__(self, updates_before_fit: int) -> None:
        self.now = 0
        self.epoch: int | None = None
        self.epoch_start = 0
        self._updates_before_fit = updates_before_fit
        self._has_batches = False

    def begin_epoch(self, epoch: int, *, steps_per_epoch: int | None, updates: int) -> None:
        """Counts from here; the first epoch says how much of its run a resumed fit has behind it."""
        if self.epoch is None:
            if epoch and not steps_per_epoch and not updates:
                warnings.warn(
                    "The steps before `initial_epoch` must be known for schedules to continue, so they begin at step "
                    "0; pass `steps_per_epoch` to fit, or restore the optimizer too. "
                    f"Received: initial_epoch={epoch}, data of unknown length and an optimizer without updates.",
                    stacklevel=3,
                )
            self.now = resumed_step(epoch, steps_per_epoch, updates, self._updates_before_fit)
        if epoch != self.epoch:
            self.epoch, self.epoch_start = epoch, self.now

    def begin_batch(self, batch: int) -> None:
        """Counts from `batch` at the first one: Keras 2 continues inside the epoch of a backup."""
        if not self._has_batches:
            self._has_batches = True
            self.epoch_start = self.now - batch

    def end_batch(self, batch: int) -> int:
        """The step that training has come to when `batch` (counted in its epoch, from 0) has ended.

        Raises:
            RuntimeError: before any epoch has begun.
        """
        if self.epoch is None:
            raise RuntimeError(
                "The hooks of an epoch must be called in order; call on_epoch_begin before the epoch's first step. "
                f"Received: on_train_batch_end({batch}) before any."
            )
        self.now = self.epoch_start + batch + 1
        return self.now
