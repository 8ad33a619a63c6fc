"""The best epoch, among those that have the target sparsity."""

from __future__ import annotations

import warnings
from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.fit.member import CompressionCallback
from segopt_callbacks.fit.stages import Stage


class AtTargetSparsity(CompressionCallback):
    """Lets a callback judge, stop and save only once pruning has reached its final sparsity.

    An epoch before that has more weights and often a better loss: `EarlyStopping` would restore it, `ModelCheckpoint`
    would keep it. Wrapped, they do not see the end of an epoch or of a batch before the target; everything else they
    do. Place it anywhere in the list.

    An epoch counts if what the callback monitors was measured at the final sparsity. A validation metric (`val_...`)
    was, if the final masks were in place when the epoch was validated; anything else is gathered over the whole epoch,
    which then must have begun with them.

    Args:
        callback: `EarlyStopping`, `ModelCheckpoint`, `ReduceLROnPlateau`, or another callback of either Keras.

    Raises:
        ValueError: if `callback` is no callback, or one of ours; when the fit begins, if nothing in it prunes or its
            final sparsity is not known.

    Example:
        >>> import numpy as np
        >>> from segopt_callbacks.compat import keras
        >>> from segopt_callbacks import PolynomialDecay, PruningScheduleCallback
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((16, 8), "float32"), np.ones((16, 4), "float32")
        >>> stop = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
        >>> schedule = PolynomialDecay(0.0, 0.75, begin_step=0, end_step=3, frequency=1)
        >>> callbacks = [PruningScheduleCallback(schedule), AtTargetSparsity(stop)]
        >>> history = model.fit(*data, epochs=5, batch_size=8, verbose=0, callbacks=callbacks)
        >>> stop.best == min(history.history["loss"][2:])
        True
    """

    stage = Stage.JUDGE

    def __init__(self, callback: Any) -> None:
        super().__init__()
        is_callback = callable(getattr(callback, "on_epoch_end", None)) and not isinstance(callback, type)
        if not is_callback or isinstance(callback, CompressionCallback):
            raise ValueError(
                "`callback` must be a callback that judges or saves, such as EarlyStopping(...) or "
                f"ModelCheckpoint(...), and none of this package. Received: callback={callback!r}."
            )
        self.callback = callback
        self._monitors_validation = str(getattr(callback, "monitor", None)).startswith("val_")
        compat.take_after(self, callback)

    def set_params(self, params: Any) -> None:
        """Hands on the parameters of the fit."""
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Hands on the model."""
        super().set_model(model)
        self.callback.set_model(model)

    def on_train_begin(self, logs: Any = None) -> None:
        self._has_judged = False
        super().on_train_begin(logs)
        self.callback.on_train_begin(logs)

    def prepare(self) -> None:
        """Makes sure that there is a target."""
        if not self.lifecycle.has_target:
            raise ValueError(
                "AtTargetSparsity must stand beside a callback that prunes, or clusters while the model trains; add a "
                f"PruningScheduleCallback to the list, or take {type(self.callback).__name__} out of it. Received: a "
                "fit in which nothing is pruned."
            )
        self.lifecycle.at_target()  # raises where the target is not known

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self.callback.on_epoch_begin(epoch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.lifecycle.at_target(whole_epoch=True):
            self.callback.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.lifecycle.at_target(whole_epoch=not self._monitors_validation):
            self._has_judged = True
            self.callback.on_epoch_end(epoch, logs)

    def restore(self, logs: Any = None) -> None:
        """Ends the callback, which may restore the best weights: before they are clustered and exported."""
        if not self._has_judged:
            warnings.warn(
                f"{type(self.callback).__name__} judged and saved nothing: no epoch of this fit was measured at the "
                f"target sparsity. It ended at {self.told.sparsity:.4f} after {self.lifecycle.step} steps; let "
                "the schedule end earlier, or train longer.",
                stacklevel=2,
            )
        self.callback.on_train_end(logs)

    # What judges and saves nothing is handed on at once.

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.callback.on_train_batch_begin(batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self.callback.on_test_begin(logs)

    def on_test_end(self, logs: Any = None) -> None:
        self.callback.on_test_end(logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.callback.on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.callback.on_test_batch_end(batch, logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        self.callback.on_predict_begin(logs)

    def on_predict_end(self, logs: Any = None) -> None:
        self.callback.on_predict_end(logs)

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.callback.on_predict_batch_begin(batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.callback.on_predict_batch_end(batch, logs)
