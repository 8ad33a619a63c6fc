"""The validation metric after each epoch of a trial, and its end where it is hopeless."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segopt_callbacks.compat import Callback


class EpochWatch(Callback):
    """Tells the study the validation metric after each epoch, and ends the fit by an exception where it is hopeless.

    Args:
        monitor: name of the metric; nothing is watched where the model does not compute it.
        report: takes the metric and the epoch.
        is_hopeless: takes the curve so far.
        stop: the exception that ends the fit.
        begin: fraction of the training, in [0, 1], before which nothing is judged: until its zeros are in place, a
            trial's metric is that of another network.
    """

    def __init__(
        self,
        monitor: str,
        report: Callable[[float, int], None],
        is_hopeless: Callable[[list[float]], bool],
        stop: Callable[[], Exception],
        *,
        begin: float = 0.0,
    ) -> None:
        super().__init__()
        self.monitor = monitor
        self.report = report
        self.is_hopeless = is_hopeless
        self.stop = stop
        self.begin = begin

    def on_train_begin(self, logs: Any = None) -> None:
        self._curve: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = (logs or {}).get(f"val_{self.monitor}")
        if value is None:
            return
        self._curve.append(float(value))
        self.report(self._curve[-1], epoch)
        epochs = (self.params or {}).get("epochs", 0)
        # The last epoch is followed by the file, which tells for certain.
        if self.begin * epochs <= epoch + 1 < epochs and self.is_hopeless(self._curve):
            raise self.stop()
