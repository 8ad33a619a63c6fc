"""One model's compression through one fit: attach once built, finish in the right order.

The callbacks of one fit join one `Lifecycle`. It calls them by stage, so that their order in the user's list does not
matter:

1. `on_train_begin`: each joins; `select` where the model is built already.
2. first `on_epoch_begin`, after all `on_train_begin` have run and `BackupAndRestore` with them: `prepare`. A model that
   is not built is built at the first step, from the shapes of the data, and prepared then.
3. first `on_train_end` of ours: the weights are finished (the best ones restored, pruned, clustered), so that whoever
   saves the model behind us saves the finished one.
4. behind the last `on_train_end` of the user's: weights that somebody replaced meanwhile (`EarlyStopping` restores
   there) are finished again, constraints are put back, then sensitivity is measured, and exports and reports are made.

Outside `fit` the same hooks are called by the user's own loop, best through a `CallbackList`.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.fit.best_kept import BestKept
from segopt_callbacks.fit.projections import Attachments, Chain, Masked, Projection, Unshared, WithAverages
from segopt_callbacks.fit.steps import Steps
from segopt_callbacks.records import Codebook, Sensitivity


class Stage(IntEnum):
    """When a callback's turn comes, at the beginning and after the fit."""

    PRUNE = 1
    CLUSTER = 2
    QUANTIZE = 3
    NORMALIZE = 4
    MEASURE = 5
    EXPORT = 6
    SUMMARIZE = 7
    JUDGE = 8


class CompressionCallback(compat.Callback):
    """Base of all our callbacks: joins the model's `Lifecycle`, and says what to do at each of its moments."""

    stage: ClassVar[Stage]
    sets_target: ClassVar[bool] = False  # whether it changes the weights while they train
    lifecycle: Lifecycle
    _updates_before_fit = 0

    def __init__(self) -> None:
        super().__init__()
        compat.require_one_process(self)

    def set_model(self, model: Any) -> None:
        """Remembers the model, and how often it was updated before anything was restored into it."""
        compat.require_tensorflow_backend(model)
        compat.require_one_process(model)
        super().set_model(model)
        self._updates_before_fit = compat.iterations(model)

    def on_train_begin(self, logs: Any = None) -> None:
        self.lifecycle = Lifecycle.join(self)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.lifecycle.begin_epoch(epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.lifecycle.steps.begin_batch(batch)

    def on_train_end(self, logs: Any = None) -> None:
        self.lifecycle.end(self, logs)

    @property
    def needs_inputs(self) -> bool:
        """Whether `prepare` reads `Lifecycle.inputs`."""
        return False

    @property
    def needs_dtypes(self) -> bool:
        """Whether `prepare` must see what the batches are made of: a subclassed model of Keras 3 forgets dtypes."""
        return False

    def select(self) -> None:
        """Chooses the weights, once the model is built."""

    def prepare(self) -> None:
        """Attaches to the chosen weights, before the first step."""

    def restore(self, logs: Any = None) -> None:
        """Puts the best weights in place, before any are finished."""

    def finish(self, logs: Any = None) -> None:
        """Does what is to be done after the fit."""

    def holds(self) -> bool:
        """Whether the weights are as `finish` left them."""
        return True

    def on_masks_changed(self) -> None:
        """Follows when other weights are pruned."""

    def at_target_since(self) -> int | None:
        """The step since which the weights have their final sparsity or number of values; `None` until then."""
        return 0


class Lifecycle:
    """What the callbacks of one fit share.

    Attributes:
        model: the model that is fitted.
        selected: path -> variable, all weights that a callback of this fit changes.
        targets: path -> fraction of zeros, in [0, 1), that the schedule asks for now.
        codebooks: path -> what clustering has chosen for a weight, once it has.
        folds: callback -> the BatchNormalizations whose scale it has moved into kernels.
        ranges: name of a tensor -> its lowest and highest value, where the model trains against rounding.
        sensitivity: how sensitive each weight is, where that was measured.
        steps: which step of its run the fit has come to.
        inputs: structure of `tf.TensorSpec`, what the model takes; `None` before `prepare`, or where nobody needs it.
    """

    _running: ClassVar[weakref.WeakKeyDictionary[Any, Lifecycle]] = weakref.WeakKeyDictionary()

    def __init__(self, model: Any, updates_before_fit: int) -> None:
        self.model = model
        self.selected: dict[str, Any] = {}
        self.targets: dict[str, float] = {}
        self.codebooks: dict[str, Codebook] = {}
        self.folds: dict[CompressionCallback, list[Any]] = {}
        self.ranges: dict[str, tuple[float, float]] = {}
        self.sensitivity: Sensitivity | None = None
        self.steps = Steps(updates_before_fit)
        self.inputs: Any = None
        self._projections: list[tuple[Stage, Any, Projection]] = []
        self._unshared: dict[int, Unshared] = {}
        self._on_release: list[Callable[[], None]] = []
        self._masked: dict[str, Masked] = {}
        self._is_simulated = False
        self._members: list[CompressionCallback] = []
        self._ended: list[CompressionCallback] = []
        self._claims: dict[tuple[Stage, str], CompressionCallback] = {}
        self._attachments = Attachments()
        self._callbacks = compat.running_callbacks(model)
        self._best_kept = BestKept(self._callbacks.callbacks if self._callbacks else ())
        self._forget = compat.after_callbacks(self._callbacks, self._close) if self._callbacks else lambda: None
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
        if lifecycle is None or not lifecycle._is_joinable(member):
            if lifecycle is not None:
                lifecycle._release()  # an earlier fit was interrupted and never ended
            lifecycle = cls._running[model] = cls(model, member._updates_before_fit)
        lifecycle._members = sorted([*lifecycle._members, member], key=lambda one: one.stage)
        member.lifecycle = lifecycle
        if compat.is_built(model):
            member.select()
        return lifecycle

    def _is_joinable(self, member: CompressionCallback) -> bool:
        is_same_fit = self._callbacks is compat.running_callbacks(self.model)
        return is_same_fit and self.steps.epoch is None and member not in self._members

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

    def attach(self, stage: Stage, projections: Iterable[tuple[Any, Projection]]) -> None:
        """Makes the optimizer apply projections from the first step on, to variables and to its averages of them.

        Of one variable's projections those of the latest stage come first, so that zeros have the last word.
        """
        for variable, projection in projections:
            self._projections.append((stage, variable, projection))
            self.on_release(projection.let_go)

    def prune(self, masked: dict[str, Masked]) -> None:
        """Records what prunes weights: path -> projection."""
        self._masked.update(masked)

    def remember_unshared(self, variable: Any) -> Unshared:
        """Makes the optimizer sum up what the variable would be without projections."""
        with compat.strategy_scope(self.model):
            return self._unshared.setdefault(compat.identity(variable), Unshared(compat.read(variable)))

    def simulate(self, simulation: Any) -> None:
        """Makes the model compute as its integer file will, from the next trace of its functions on."""
        self._is_simulated = True
        self.on_release(simulation.attach())
        for owner, name in [(self._callbacks, name) for name in compat.HOOKS_OF_CALLBACKS] + [(self.model, "evaluate")]:
            if owner is not None:
                self.on_release(compat.around_method(owner, name, self._guarded))
        self.on_release(lambda: compat.drop_inference_functions(self.model))
        compat.drop_inference_functions(self.model)

    def _guarded(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What else runs in a fit beside its steps; the model must not stay simulated when it raises."""
        with self.released_on_error():
            return method(*arguments, **options)

    def trace_anew(self) -> None:
        """Makes the next step, and the next evaluation, anew: they hold settings of when they were traced."""
        compat.remake_train_function(self.model, self._release)
        compat.drop_inference_functions(self.model)

    def other_callbacks(self, name: str) -> list[Any]:
        """The user's callbacks of a class of this name, or of one derived from it."""
        everybody = self._callbacks.callbacks if self._callbacks else []
        return [one for one in everybody if any(base.__name__ == name for base in type(one).__mro__)]

    def masks_changed(self) -> None:
        """Tells everybody that other weights are pruned now."""
        for member in self._members:
            member.on_masks_changed()

    def _attach_all(self) -> None:
        every: dict[int, list[tuple[Any, Projection]]] = {}
        for _, variable, projection in sorted(self._projections, key=lambda one: -one[0]):
            every.setdefault(compat.identity(variable), []).append((variable, projection))
        for key, pairs in every.items():
            variable = pairs[0][0]
            averages = functools.partial(compat.averages_of, self.model, variable)
            constraint = WithAverages(Chain(tuple(one for _, one in pairs)), averages)
            unshared = self._unshared.get(key)
            self._attachments.attach(variable, unshared.around(constraint) if unshared else constraint)

    def on_release(self, hook: Callable[[], None]) -> None:
        """Calls `hook` when the model is let go."""
        self._on_release.append(hook)

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Path -> bool of the weight's shape, True where a weight is kept; of pruned weights only."""
        return {path: masked.mask for path, masked in self._masked.items()}

    @property
    def step(self) -> int:
        """Optimizer steps since the fit began; for a resumed fit, since the run began that it continues."""
        return self.steps.now

    def begin_epoch(self, epoch: int) -> None:
        """Prepares everybody at the first epoch, and counts steps from there."""
        is_first = self.steps.epoch is None
        steps_per_epoch = (self._members[0].params or {}).get("steps")
        self.steps.begin_epoch(epoch, steps_per_epoch=steps_per_epoch, updates=compat.iterations(self.model))
        if not is_first:
            return
        needs_batch = any(member.needs_dtypes for member in self._members)
        if compat.is_built(self.model) and not needs_batch and self._knows_inputs():
            self._prepare_at_once()
        else:
            compat.before_first_step(self.model, self._build_and_prepare, self._release)

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
        if not self._is_prepared and self.steps.epoch is not None:
            self._prepare_late()
        if self._best_kept:
            self._best_kept.look(self.sparsity, self.step)
        return self.steps.end_batch(batch)

    @property
    def sparsity(self) -> float:
        """Fraction of zeros that the schedules ask for now, over all pruned weights, in [0, 1)."""
        sizes = {path: math.prod(self.selected[path].shape) for path in self.targets}
        return sum(self.targets[path] * size for path, size in sizes.items()) / max(sum(sizes.values()), 1)

    @property
    def has_target(self) -> bool:
        """Whether a callback of this fit changes the weights while they train."""
        return any(member.sets_target for member in self._members)

    @property
    def learns_ranges(self) -> bool:
        """Whether the model trains against rounding."""
        return any(member.stage == Stage.QUANTIZE for member in self._members)

    def at_target(self, *, whole_epoch: bool = False) -> bool:
        """Whether all weights have their final sparsity; with `whole_epoch`, since the epoch began at least."""
        since = [member.at_target_since() for member in self._members]
        latest = self.steps.epoch_start if whole_epoch else self.step
        return all(step is not None and step <= latest for step in since)

    def _build_and_prepare(self, iterator: Any) -> Any:
        self.inputs, iterator = compat.batch_inputs(iterator)
        if not compat.is_built(self.model):
            compat.build_from_inputs(self.model, self.inputs)
        for member in self._members:
            member.select()
        self._prepare()
        return iterator

    def _prepare_at_once(self) -> None:
        self._prepare()
        if self._attachments or self._is_simulated:
            compat.remake_train_function(self.model, self._release)

    def _prepare(self) -> None:
        self._is_prepared = True
        with self.released_on_error():
            for member in self._members:
                member.prepare()
            self._attach_all()

    @contextlib.contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Lets the model go if what runs inside raises: no `on_train_end` follows an error."""
        try:
            yield
        except BaseException:
            self._release()
            raise

    def end(self, member: CompressionCallback, logs: Any) -> None:
        """Finishes the weights at the first call; closes at the last where no History follows."""
        self._logs = logs
        self._ended.append(member)
        if not self._is_prepared:
            self._prepare_late()
        if not self._weights_are_finished:
            self._weights_are_finished = True
            self._best_kept.look(self.sparsity, self.step)
            self._best_kept.warn(self.sparsity)
            self._finish_weights(restore=True)
        if len(self._ended) == len(self._members) and self._callbacks is None:
            self._close()

    def _prepare_late(self) -> None:
        """For a fit without steps, and for a loop whose steps do not pass through the model's `train_function`."""
        if not compat.has_weights(self.model):
            raise ValueError(
                "A model must be built to be compressed; fit it for at least one step, or call it on data first. "
                f"Received: {self.model.name!r}, not built, and a fit without steps."
            )
        if self.steps.epoch is None:
            self.begin_epoch(0)
        if not self._is_prepared:
            self._prepare_built()

    def _prepare_built(self) -> None:
        if not self._knows_inputs():
            raise ValueError(
                "A pattern, and clustering behind a BatchNormalization, must know what the model takes; train it by "
                "fit or train_on_batch, build it from keras.Input, or cluster with fold_batch_norm=False. "
                f"Received: {self.model.name!r}, whose inputs are not known."
            )
        for member in self._members:
            member.select()
        self._prepare_at_once()

    def _finish_weights(self, *, restore: bool) -> None:
        with self.released_on_error():
            for member in self._members if restore else ():
                member.restore(self._logs)
            for member in self._members:
                if member.stage < Stage.MEASURE:
                    member.finish(self._logs)

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if broken := self._broken():
                if Stage.PRUNE not in (member.stage for member in broken):  # pruning says so itself, with its figures
                    warnings.warn(
                        "Another callback replaced the weights at the end of training (EarlyStopping with "
                        "restore_best_weights?); they were clustered again. Let it stand before ours in the list.",
                        stacklevel=2,
                    )
                self._finish_weights(restore=False)
            if broken := self._broken():
                raise RuntimeError(
                    "Pruned and clustered weights must stay so when training ends, but something writes to them. "
                    f"Received: the promise of {', '.join(type(member).__name__ for member in broken)} broken."
                )
        finally:
            self._release()
        with contextlib.ExitStack() as finishes:  # what one raises keeps no other from its turn
            for member in reversed(self._members):
                if member.stage >= Stage.MEASURE:
                    finishes.callback(member.finish, self._logs)

    def _broken(self) -> list[CompressionCallback]:
        return [member for member in self._members if not member.holds()]

    def _release(self) -> None:
        """Puts the constraints back, and drops the compiled step that holds ours."""
        self._forget()
        self._running.pop(self.model, None)
        while self._on_release:
            self._on_release.pop()()
        if self._attachments or self._is_simulated:
            self._attachments.detach()
            compat.drop_train_function(self.model)
