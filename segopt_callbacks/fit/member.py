"""What a callback of ours is to its fit: a member, which has its turn at each of the fit's moments."""

from __future__ import annotations

from typing import Any, ClassVar

from segopt_callbacks import compat
from segopt_callbacks.fit.attached import Attached
from segopt_callbacks.fit.lifecycle import Lifecycle
from segopt_callbacks.fit.settings import WithSettings
from segopt_callbacks.fit.stages import Stage
from segopt_callbacks.fit.told import Told


class CompressionCallback(WithSettings, compat.Callback):
    """Base of all our callbacks: joins the model's `Lifecycle`, and says what to do at each of its moments."""

    stage: ClassVar[Stage]
    sets_target: ClassVar[bool] = False  # whether it changes the weights while they train
    lifecycle: Lifecycle
    updates_before_fit = 0

    def __init__(self) -> None:
        super().__init__()
        compat.require_one_process(self)

    def set_model(self, model: Any) -> None:
        """Remembers the model, and how often it was updated before anything was restored into it."""
        compat.require_tensorflow_backend(model)
        compat.require_one_process(model)
        self.remember_settings()
        super().set_model(model)
        self.updates_before_fit = compat.iterations(model)

    @property
    def told(self) -> Told:
        """What the callbacks of this fit tell each other."""
        return self.lifecycle.told

    @property
    def attached(self) -> Attached:
        """What is attached to the model until the fit ends."""
        return self.lifecycle.attached

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
    def needs_fed(self) -> bool:
        """Whether `prepare` must see what batches are made of: models forget dtypes (Keras 3), or leave sizes open."""
        return False

    def select(self) -> None:
        """Chooses the weights, once the model is built."""

    def rehearse(self) -> None:
        """Tries on one batch what `finish` will compute, before anything is attached and any step is run."""

    def prepare(self) -> None:
        """Attaches to the chosen weights, before the first step."""

    @property
    def begins_at_once(self) -> bool:
        """Whether `prepare` reads values that those before it have changed."""
        return False

    def leave_out(self, paths: set[str]) -> set[str]:
        """Lets go of weights that are not trained for inference, unless a filter names them; returns which."""
        return set()

    def on_settled(self) -> None:
        """Follows when the first step is over, and it is known which weights an optimizer updates."""

    def restore(self, logs: Any = None) -> None:
        """Puts the best weights in place, before any are finished."""

    def finish(self, logs: Any = None) -> None:
        """Does what is to be done after the fit."""

    def holds(self) -> bool:
        """Whether the weights are as `finish` left them."""
        return True

    def on_replaced(self) -> None:
        """Says that somebody replaced the finished weights, which are finished again now."""

    def on_masks_changed(self) -> None:
        """Follows when other weights are pruned."""

    def kept(self) -> dict[str, Any]:
        """What a backup of the running fit must hold of this callback beside weights and optimizer; for JSON."""
        return {}

    def take_up(self, kept: dict[str, Any]) -> None:
        """Goes on with what `kept` returned; called in `on_train_begin`, behind that of this callback."""

    def at_target_since(self) -> int | None:
        """The step since which the weights have their final sparsity or number of values; `None` until then."""
        return 0
