"""Pruning during the fit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.lifecycle import CompressionCallback, Stage
from segopt_callbacks.masks import DISTRIBUTIONS, distribute, magnitude_mask, number_of_zeros
from segopt_callbacks.projections import Masked
from segopt_callbacks.schedules import Schedule, as_schedule, final_sparsity, last_update
from segopt_callbacks.weights import Filters, select_weights, validate_filters


class PruningScheduleCallback(CompressionCallback):
    """Raises the sparsity of a model's weights along a schedule while it trains, and holds it exactly.

    Works on any model, built or not; nothing is wrapped. After each optimizer step, inside the compiled step, pruned
    weights are zero. Epoch logs gain `sparsity`: the fraction of zeros over the selected weights. A constraint of the
    user's own still applies, before the zeros, and is alone again after the fit.

    Steps count from the beginning of the fit. A fit that is resumed (`BackupAndRestore`, or `initial_epoch` with a
    known number of steps per epoch) continues the schedule where it was.

    Args:
        schedule: fraction of zeros in [0, 1), pruned at once and held; or a callable
            `step -> (should_prune, sparsity)`, such as tfmot's `PolynomialDecay`. A schedule's `end_step` is always
            pruned at, although no multiple of its `frequency` may meet it.
        filters: which weights, see `weights.select_weights`. Default: every trainable weight of rank 2 or more,
            embeddings aside.
        distribution: `"uniform"` (each weight has the schedule's sparsity, as in tfmot) or `"erk"` (small weights keep
            more and large ones less, their mean has it: far better above 80%).
        verbose: 1 prints a line for every change of the masks.

    Raises:
        ValueError: for an argument outside its range.

    Example:
        >>> import numpy as np
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((16, 8), "float32"), np.ones((16, 4), "float32")
        >>> history = model.fit(*data, verbose=0, callbacks=[PruningScheduleCallback(0.75)])
        >>> history.history["sparsity"]
        [0.75]
    """

    stage = Stage.PRUNE

    def __init__(
        self,
        schedule: float | Schedule,
        filters: Filters = None,
        *,
        distribution: str = "uniform",
        verbose: int = 0,
    ) -> None:
        super().__init__()
        validate_filters(filters)
        if distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"`distribution` must be one of {', '.join(DISTRIBUTIONS)}. Received: distribution={distribution!r}."
            )
        self.schedule = schedule
        self.filters = filters
        self.distribution = distribution
        self.verbose = verbose
        self._schedule = as_schedule(schedule)
        self._end_step = getattr(schedule, "end_step", None)

    def on_train_begin(self, logs: Any = None) -> None:
        self._weights: dict[str, Any] = {}
        self._masked: dict[str, Masked] = {}
        self._asked_until = -1
        self._is_checked = self._is_bypassed = self._is_warned = False
        super().on_train_begin(logs)

    def select(self) -> None:
        """Chooses the weights to prune."""
        self._weights = select_weights(self.model, self.filters)
        self.lifecycle.claim(self, self._weights)

    def prepare(self) -> None:
        """Attaches a mask to each weight; a resumed run's masks are read from its zeros."""
        with compat.strategy_scope(self.model):
            self._masked = {path: Masked(tuple(weight.shape)) for path, weight in self._weights.items()}
        for path, masked in self._masked.items():
            self.lifecycle.attach(path, masked)
        if self.lifecycle.last_step is not None:
            self._warn_if_cut_short(self.lifecycle.last_step)
        self._follow_schedule(self.lifecycle.step)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self._is_checked or self._is_bypassed:
            self._check_step()
        self._follow_schedule(self.lifecycle.step_after(batch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check_step()
        if logs is not None:
            logs["sparsity"] = self.sparsity()

    def finish(self, logs: Any = None) -> None:
        """Zeros the pruned weights once more and counts them: averages (`use_ema`) replace weights after the fit."""
        self._project()
        self._warn_if_cut_short(self.lifecycle.step)
        for path, weight in self._weights.items():
            zeros = int(np.count_nonzero(compat.read(weight) == 0))
            promised = number_of_zeros(int(np.prod(weight.shape)), self.lifecycle.targets.get(path, 0.0))
            if zeros < promised:
                raise RuntimeError(
                    f"A pruned weight must have its zeros when training ends, but something else writes to it. "
                    f"Received: {path!r} with {zeros} zeros, {promised} promised."
                )

    def holds(self) -> bool:
        """Whether every pruned weight is zero now."""
        return not any(np.any(compat.read(self._weights[path])[~masked.mask]) for path, masked in self._masked.items())

    def sparsity(self) -> float:
        """Fraction of zeros over the selected weights, in [0, 1]."""
        values = [compat.read(weight) for weight in self._weights.values()]
        return float(sum(np.count_nonzero(value == 0) for value in values) / sum(value.size for value in values))

    def _follow_schedule(self, step: int) -> None:
        sparsity = last_update(self._schedule, self._asked_until, step, end_step=self._end_step)
        self._asked_until = step
        if sparsity is not None:
            self._prune(sparsity)
            self._is_checked = False

    def _warn_if_cut_short(self, last_step: int) -> None:
        final = final_sparsity(self.schedule)
        if final is None or self._is_warned:
            return
        reached = last_update(self._schedule, -1, last_step, end_step=self._end_step) or 0.0
        if final > reached + 1e-6:
            self._is_warned = True
            warnings.warn(
                f"The schedule does not reach its final sparsity in this fit: {last_step} steps lead to {reached:.4f} "
                f"of {final:.4f}; let it end earlier, or train longer.",
                stacklevel=2,
            )

    def _prune(self, sparsity: float) -> None:
        shapes = [tuple(weight.shape) for weight in self._weights.values()]
        targets = dict(zip(self._weights, distribute(shapes, sparsity, self.distribution), strict=True))
        for path, target in targets.items():
            masked = self._masked[path]
            masked.mask = magnitude_mask(compat.read(self._weights[path]), target, pruned=~masked.mask)
        self.lifecycle.targets.update(targets)
        self._project()
        if self.verbose:
            print(f"step {self.lifecycle.step}: pruned to sparsity {self.sparsity():.4f}")

    def _project(self) -> None:
        for path, masked in self._masked.items():
            compat.assign(self._weights[path], masked(self._weights[path]))

    def _check_step(self) -> None:
        """After a change of the masks: does the training step keep the zeros? If not, put them back at each batch."""
        self._is_checked = True
        if self.holds():
            return
        self._project()
        if not self._is_bypassed and not compat.averages_weights(self.model):
            self._is_bypassed = True
            warnings.warn(
                "The model's train_step writes weights without the optimizer, so that no constraint runs; pruned "
                "weights are zeroed at the end of each batch instead.",
                stacklevel=2,
            )
