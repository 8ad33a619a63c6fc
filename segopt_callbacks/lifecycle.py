"""One model's compression through one fit: attach once built, finish in the right order.

The callbacks of one fit join one `Lifecycle`. It calls them by stage, so that their order in the user's list does not
matter:

1. `on_train_begin`: each joins; `select` where the model is built already.
2. first `on_epoch_begin`, after all `on_train_begin` have run and `BackupAndRestore` with them: `prepare`. A model that
   is not built is built at the first step, from the shapes of the data, and prepared then.
3. first `on_train_end` of ours: the weights are finished (pruned, then clustered), so that whoever saves the model
   behind us saves the finished one.
4. behind the last `on_train_end` of the user's: weights that somebody replaced meanwhile (`EarlyStopping` restores
   there) are finished again, constraints are put back, then exports and reports are made.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
import weakref
from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.projections import Attachments, Masked, WithAverages


class Stage(IntEnum):
    """When a callback's turn comes, at the beginning and after the fit."""

    PRUNE = 1
    CLUSTER = 2
    EXPORT = 3
    SUMMARIZE = 4


class CompressionCallback(compat.Callback):
    """Base of all our callbacks: joins the model's `Lifecycle`, and says what to do at each of its moments."""

    stage: ClassVar[Stage]
    lifecycle: Lifecycle
    _updates_before_fit = 0

    def set_model(self, model: Any) -> None:
        """Remembers the model, and how often it was updated before anything was restored into it."""
        compat.require_tensorflow_backend(model)
        super().set_model(model)
        self._updates_before_fit = compat.iterations(model)

    def on_train_begin(self, logs: Any = None) -> None:
        self.lifecycle = Lifecycle.join(self)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.lifecycle.begin_epoch(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        self.lifecycle.end(self, logs)

    @property
    def needs_inputs(self) -> bool:
        """Whether `prepare` reads `Lifecycle.inputs`."""
        return False

    def select(self) -> None:
        """Chooses the weights, once the model is built."""

    def prepare(self) -> None:
        """Attaches to the chosen weights, before the first step."""

    def finish(self, logs: Any = None) -> None:
        """Does what is to be done after the fit."""

    def holds(self) -> bool:
        """Whether the weights are as `finish` left them."""
        return True


class Lifecycle:
    """What the callbacks of one fit share.

    Attributes:
        model: the model that is fitted.
        selected: path -> variable, all weights that a callback of this fit changes.
        targets: path -> fraction of zeros, in [0, 1), that the schedule asks for now.
        step: optimizer steps since the fit began; for a resumed fit, since the run began that it continues.
        inputs: structure of `tf.TensorSpec`, what the model takes; `None` before `prepare`, or where nobody needs it.
    """

    _running: ClassVar[weakref.WeakKeyDictionary[Any, Lifecycle]] = weakref.WeakKeyDictionary()

    def __init__(self, model: Any, updates_before_fit: int) -> None:
        self.model = model
        self.selected: dict[str, Any] = {}
        self.targets: dict[str, float] = {}
        self.step = 0
        self.inputs: Any = None
        self._on_release: list[Callable[[], None]] = []
        self._masked: dict[str, Masked] = {}
        self._members: list[CompressionCallback] = []
        self._ended: list[CompressionCallback] = []
        self._claims: dict[tuple[Stage, str], CompressionCallback] = {}
        self._attachments = Attachments()
        self._updates_before_fit = updates_before_fit
        self._history = getattr(model, "history", None)
        self._epoch: int | None = None
        self._epoch_start = 0
        self._is_prepared = self._weights_are_finished = self._is_closed = False
        self._logs: Any = None

    @classmethod
    def join(cls, member: CompressionCallback) -> Lifecycle:
        """Enters `member`, in its `on_train_begin`, into the one lifecycle of the fit that begins.

        Raises:
            ValueError: if `member` and another callback contradict each other.
        """
        model = member.model
        lifecycle = cls._running.get(model)
        if lifecycle is None or not lifecycle._is_joinable():
            if lifecycle is not None:
                lifecycle._release()  # an earlier fit was interrupted and never ended
            lifecycle = cls._running[model] = cls(model, member._updates_before_fit)
        lifecycle._members = sorted([*lifecycle._members, member], key=lambda one: one.stage)
        member.lifecycle = lifecycle
        if compat.is_built(model):
            member.select()
        return lifecycle

    def _is_joinable(self) -> bool:
        return self._epoch is None and self._history is getattr(self.model, "history", None)

    def claim(self, member: CompressionCallback, weights: dict[str, Any]) -> None:
        """Records that `member` changes `weights`.

        Raises:
            ValueError: if another callback of the same stage claims one of them.
        """
        for path in weights:
            owner = self._claims.setdefault((member.stage, path), member)
            if owner is not member:
                raise ValueError(
                    f"A weight can belong to one {type(member).__name__} only; give each its own `filters`. "
                    f"Received: {path!r} selected by {type(owner).__name__} and {type(member).__name__}."
                )
        self.selected.update(weights)

    def attach(self, path: str, masked: Masked) -> None:
        """Makes the optimizer keep `masked`'s zeros in the weight from now on."""
        self._masked[path] = masked
        self.constrain(self.selected[path], masked)

    def constrain(self, variable: Any, masked: Masked) -> None:
        """Makes the optimizer keep `masked`'s zeros in any variable, and in its averages of it, from now on."""
        averages = functools.partial(compat.averages_of, self.model, variable)
        self._attachments.attach(variable, WithAverages(masked, averages))

    def on_release(self, hook: Callable[[], None]) -> None:
        """Calls `hook` when the model is let go."""
        self._on_release.append(hook)

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Path -> bool of the weight's shape, True where a weight is kept; of pruned weights only."""
        return {path: masked.mask for path, masked in self._masked.items()}

    def begin_epoch(self, epoch: int) -> None:
        """Prepares everybody at the first epoch, and counts steps from there."""
        if self._epoch is None:
            self.step = self._resumed_step(epoch)
            if getattr(self.model, "history", None) is not None:
                compat.after_callbacks(self.model, self._close)
            if compat.is_built(self.model) and self._knows_inputs():
                self._prepare()
                if self._attachments:
                    compat.remake_train_function(self.model, self._release)
            else:
                compat.before_first_step(self.model, self._build_and_prepare, self._release)
        if epoch != self._epoch:
            self._epoch, self._epoch_start = epoch, self.step

    def _knows_inputs(self) -> bool:
        if self.inputs is None and any(member.needs_inputs for member in self._members):
            self.inputs = compat.model_input_specs(self.model)
            return self.inputs is not None
        return True

    @property
    def last_step(self) -> int | None:
        """The step at which the fit will have run its epochs; `None` where their length is not known."""
        params = self._members[0].params or {}
        return params["epochs"] * params["steps"] if params.get("steps") else None

    def step_after(self, batch: int) -> int:
        """The step that training has come to when `batch` (counted in its epoch, from 0) has ended."""
        self.step = self._epoch_start + batch + 1
        return self.step

    def _resumed_step(self, epoch: int) -> int:
        # BackupAndRestore brings back the optimizer's count; with `initial_epoch` alone, epochs are what is known.
        restored = compat.iterations(self.model) - self._updates_before_fit
        steps_per_epoch = (self._members[0].params or {}).get("steps") or 0
        return max(restored, epoch * steps_per_epoch)

    def _build_and_prepare(self, iterator: Any) -> None:
        self.inputs = compat.batch_inputs(iterator)
        if not compat.is_built(self.model):
            compat.build_from_batch(self.model, iterator)
        for member in self._members:
            member.select()
        self._prepare()

    def _prepare(self) -> None:
        self._is_prepared = True
        for member in self._members:
            member.prepare()

    def end(self, member: CompressionCallback, logs: Any) -> None:
        """Finishes the weights at the first call; closes at the last where no History follows."""
        self._logs = logs
        self._ended.append(member)
        if not self._is_prepared:
            self._prepare_without_a_step()
        if not self._weights_are_finished:
            self._weights_are_finished = True
            self._finish_weights()
        if len(self._ended) == len(self._members) and getattr(self.model, "history", None) is None:
            self._close()

    def _prepare_without_a_step(self) -> None:
        if not compat.has_weights(self.model):
            raise ValueError(
                "A model must be built to be compressed; fit it for at least one step, or call it on data first. "
                f"Received: {self.model.name!r}, not built, and a fit without steps."
            )
        self.begin_epoch(0)

    def _finish_weights(self) -> None:
        try:
            for member in self._members:
                if member.stage <= Stage.CLUSTER:
                    member.finish(self._logs)
        except BaseException:
            self._release()
            raise

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if not all(member.holds() for member in self._members):
                warnings.warn(
                    "Another callback replaced the weights at the end of training (EarlyStopping with "
                    "restore_best_weights?); they were pruned and clustered again, to values that no epoch evaluated.",
                    stacklevel=2,
                )
                self._finish_weights()
        finally:
            self._release()
        with contextlib.ExitStack() as finishes:  # what one raises keeps no other from its turn
            for member in reversed(self._members):
                if member.stage > Stage.CLUSTER:
                    finishes.callback(member.finish, self._logs)

    def _release(self) -> None:
        """Puts the constraints back, and drops the compiled step that holds ours."""
        self._running.pop(self.model, None)
        while self._on_release:
            self._on_release.pop()()
        if self._attachments:
            self._attachments.detach()
            compat.drop_train_function(self.model)
