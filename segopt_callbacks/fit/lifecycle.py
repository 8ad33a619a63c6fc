"""One model's compression through one fit: attach once built, finish in the right order.

The callbacks of one fit join one `Lifecycle`. It calls them by stage, so that their order in the user's list does not
matter:

1. `on_train_begin`: each joins; `select` where the model is built already.
2. first `on_epoch_begin`, after all `on_train_begin` have run and `BackupAndRestore` with them: `prepare`. A model that
   is not built is built at the first step, from the shapes of the data, and prepared then.
3. first `on_train_end` of ours: the weights are finished (the best ones restored, then each stage's work), so that
   whoever saves the model behind us saves the finished one.
4. behind the last `on_train_end` of the user's: weights that somebody replaced meanwhile (`EarlyStopping` restores
   there) are finished again, constraints are put back, then what only reads the weights has its turn.

Outside `fit` the same hooks are called by the user's own loop, best through a `CallbackList`.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from segopt_callbacks import compat
from segopt_callbacks.fit.attached import Attached
from segopt_callbacks.fit.best_kept import BestKept
from segopt_callbacks.fit.building import inputs_are_unknown, warn_of_no_end, weights_are_missing, what_the_model_takes
from segopt_callbacks.fit.ending import Ending
from segopt_callbacks.fit.left_alone import LeftAlone
from segopt_callbacks.fit.members import Members
from segopt_callbacks.fit.steps import Steps
from segopt_callbacks.fit.told import Told

if TYPE_CHECKING:
    from segopt_callbacks.fit.member import CompressionCallback


class Lifecycle:
    """What the callbacks of one fit share.

    Attributes:
        model: the model that is fitted.
        told: what the callbacks tell each other.
        attached: what is attached to the model until the fit ends.
        steps: which step of its run the fit has come to.
        inputs: structure of `tf.TensorSpec`, what the model takes; `None` before `prepare`, or where nobody needs it.
        fed: likewise, what the fit feeds to it; `None` where no batch was looked at.
    """

    _running: ClassVar[weakref.WeakKeyDictionary[Any, Lifecycle]] = weakref.WeakKeyDictionary()

    def __init__(self, model: Any, updates_before_fit: int) -> None:
        self.model = model
        self.told = Told()
        self.steps = Steps(updates_before_fit)
        self.inputs: Any = None
        self.fed: Any = None
        self._members = Members()
        self._callbacks = compat.running_callbacks(model)
        self._best_kept = BestKept(self.callbacks)
        self._ended: list[CompressionCallback] = []
        self._is_prepared = self._weights_are_finished = False
        self._is_loop = not compat.is_fitting(model)
        self.left_alone = LeftAlone(model, self._members, self.told, is_loop=self._is_loop)
        self.attached = Attached(model, self._callbacks, self.left_alone)
        self._ending = Ending(self._members, self.attached)
        self.attached.on_release(self._forget)
        self.attached.on_release(compat.around_method(model, "fit", self._before_another_fit))
        if self._callbacks:
            self.attached.on_release(compat.after_callbacks(self._callbacks, self._ending.close))

    def _forget(self) -> None:
        self._running.pop(self.model, None)

    def _before_another_fit(self, fit: Any, *arguments: Any, **options: Any) -> Any:
        """Lets go of what a loop without an end, or a fit that another callback broke off, has left attached."""
        self.attached.release()
        if self._is_loop:  # who has broken off a fit knows of it
            warn_of_no_end(self.model)
        return fit(*arguments, **options)

    # --- 1. each joins -----------------------------------------------------------------------------------------------

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
                lifecycle.attached.release()  # an earlier fit was interrupted and never ended
            lifecycle = cls._running[model] = cls(model, member.updates_before_fit)
        lifecycle._members.add(member)
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
        self._members.claim(member, weights)
        self.told.selected.update(weights)

    def unclaim(self, member: CompressionCallback, paths: set[str]) -> None:
        """Records that `member` changes these weights no more."""
        self._members.unclaim(member, paths)

    # --- 2. everybody prepares, and the fit goes on ------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        """Prepares everybody at the first epoch, and counts steps from there."""
        is_first = self.steps.epoch is None
        updates = compat.iterations(self.model)
        self.steps.begin_epoch(epoch, steps_per_epoch=self._members.params.get("steps"), updates=updates)
        if not is_first:
            return
        if compat.is_built(self.model) and not self._members.need_fed and self._knows_inputs():
            self._prepare()
            self.attached.remake_step()
        else:
            compat.before_first_step(self.model, self._build_and_prepare, self.attached.release)

    def _knows_inputs(self) -> bool:
        if self.inputs is None and self._members.need_inputs:
            self.inputs = compat.model_input_specs(self.model)
            return self.inputs is not None
        return True

    def _require_inputs(self) -> None:
        if not self._knows_inputs():
            raise inputs_are_unknown(self.model)

    def _build_and_prepare(self, iterator: Any) -> Any:
        self.fed, iterator = compat.batch_inputs(iterator)
        self.inputs = what_the_model_takes(self.model, self.fed)
        if self.inputs is None:
            self._require_inputs()
        for member in self._members:
            member.select()
        self._prepare()
        return iterator

    def _prepare(self, *, has_trained: bool = False) -> None:
        self._is_prepared = True
        with self.attached.released_on_error():
            inputs = compat.model_input_specs(self.model) if self.inputs is None else self.inputs
            self.left_alone.begin(inputs, has_trained=has_trained)
            compat.build_optimizer(self.model)
            for member in self._members:
                member.rehearse()
            for member in self._members:
                member.prepare()
            self.attached.apply()

    def _prepare_late(self) -> None:
        """For a fit without steps, and for a loop whose steps do not pass through the model's `train_function`."""
        if not compat.has_weights(self.model):
            raise weights_are_missing(self.model)
        if self.steps.epoch is None:
            self.begin_epoch(0)
        if self._is_prepared:
            return
        self._require_inputs()
        for member in self._members:
            member.select()
        self._prepare(has_trained=True)
        self.attached.remake_step()

    def settle(self) -> None:
        """Leaves alone what no optimizer has received, once the first step is over."""
        if self._is_prepared:
            with self.attached.released_on_error():
                self.left_alone.settle()

    def step_after(self, batch: int) -> int:
        """The step that training has come to when `batch` (counted in its epoch, from 0) has ended."""
        if not self._is_prepared and self.steps.epoch is not None:
            self._prepare_late()
        else:
            self.settle()
        if self._best_kept:
            self._best_kept.look(self.told.sparsity, self.step)
        return self.steps.end_batch(batch)

    @property
    def step(self) -> int:
        """Optimizer steps since the fit began; for a resumed fit, since the run began that it continues."""
        return self.steps.now

    @property
    def last_step(self) -> int | None:
        """The step at which the fit will have run its epochs; `None` where their length is not known."""
        params = self._members.params
        return params["epochs"] * params["steps"] if params.get("steps") else None

    @property
    def has_target(self) -> bool:
        """Whether a callback of this fit changes the weights while they train."""
        return self._members.have_target

    def at_target(self, *, whole_epoch: bool = False) -> bool:
        """Whether all weights have their final sparsity; with `whole_epoch`, since the epoch began at least."""
        return self._members.at_target(self.steps.epoch_start if whole_epoch else self.step)

    def masks_changed(self) -> None:
        """Tells everybody that other weights are pruned now."""
        for member in self._members:
            member.on_masks_changed()

    @property
    def members(self) -> list[CompressionCallback]:
        """Our callbacks in this fit, in the order of their stages."""
        return list(self._members)

    @property
    def callbacks(self) -> list[Any]:
        """Everybody's, in order; empty where hooks are called one by one."""
        return self._callbacks.callbacks if self._callbacks else []

    def other_callbacks(self, name: str) -> list[Any]:
        """The user's callbacks of a class of this name, or of one derived from it."""
        return [one for one in self.callbacks if any(base.__name__ == name for base in type(one).__mro__)]

    # --- 3. the weights are finished ---------------------------------------------------------------------------------

    def end(self, member: CompressionCallback, logs: Any) -> None:
        """Finishes the weights at the first call; closes at the last where no History follows."""
        self._ending.logs = logs
        self._ended.append(member)
        if not self._is_prepared:
            self._prepare_late()
        self.settle()
        if not self._weights_are_finished:
            self._weights_are_finished = True
            self._best_kept.look(self.told.sparsity, self.step)
            self._best_kept.warn(self.told.sparsity)
            self._ending.finish_weights(restore=True)
        if len(self._ended) == len(self._members) and self._callbacks is None:
            self._ending.close()
