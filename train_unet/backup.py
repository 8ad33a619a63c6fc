"""The backup of a training: all that `fit` needs to go on as if nothing had happened, in one file.

The file is there whole or not at all. It holds the variables of model and optimizer, what each callback of ours asks
to keep (`kept`: the ranges of rounding), and the place in the data.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flags import FlagError
from segopt_callbacks import compat


class Backup(compat.Callback):
    """Goes on from the backup that is there, and makes others: behind each epoch, and after so many minutes.

    To stand behind all others in the list. There is one before the last step, and none behind it: what follows that
    step (the weights are finished, measured and exported) is done again, by a fit of one step, when it was interrupted.

    Args:
        path: of the file.
        kept: callbacks that have something to keep.
        minutes: the longest time between two backups.
        fits_before: whole fits over the same data that an earlier process has run, in place of this one.
        goes_on: whether to go on from a backup that is there; no other process has begun to write a newer one.
        writes: whether this process makes backups; all that train one model go on from them.
        interrupted: whether the process was asked to end; asked behind each batch.
        leave: what then ends it, behind a last backup.

    Attributes:
        place: the epoch and its batch, from 0, at which the fit is to begin.

    Raises:
        FlagError: if the backup that is there is damaged.
    """

    def __init__(
        self,
        path: Path,
        kept: Sequence[Any] = (),
        *,
        minutes: float = 10.0,
        fits_before: int = 0,
        goes_on: bool = True,
        writes: bool = True,
        interrupted: Callable[[], bool] = lambda: False,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.path = path
        self.minutes = minutes
        self.fits_before = fits_before
        self.writes = writes
        self.interrupted = interrupted
        self.leave = leave
        self._keepers = list(kept)
        self._epoch, self._saved_at = 0, time.monotonic()
        self._counted: list[np.ndarray] = []  # by metrics, before the training was broken off
        self._found = read_backup(path) if goes_on else None
        about = self._found[1] if self._found else {"epoch": 0, "batch": 0}
        self.place = (about["epoch"], about["batch"])

    def on_train_begin(self, logs: Any = None) -> None:
        if self._found:
            arrays, about = self._found
            state = compat.state_variables(self.model)
            self._counted = arrays[len(state) :]
            for variable, value in zip(state, arrays[: len(state)], strict=True):
                compat.assign(variable, value)
            for callback, kept in zip(self._keepers, about["kept"], strict=True):
                callback.take_up(kept)
        if any(self.place) or self.fits_before:
            whole = {"fits_before": self.fits_before, "epochs": self.params["epochs"]}
            compat.begin_data_at(self.model, *self.place, **whole)
        self._found, self._saved_at = None, time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._count_on()
        left = self.params["steps"] - batch - 1
        is_last_epoch = self._epoch == self.params["epochs"] - 1
        is_due = time.monotonic() - self._saved_at >= 60 * self.minutes
        is_asked = self.interrupted()
        # Behind the last batch of an epoch comes the backup of the epoch; its validation is not to be done twice.
        if left and (is_due or is_asked or (is_last_epoch and left == 1)):
            self.save(self._epoch, batch + 1)
        elif is_asked and not is_last_epoch:
            self.save(self._epoch + 1, 0)  # without its validation, which nobody would wait for
        if is_asked:
            self.leave()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch < self.params["epochs"] - 1:
            self.save(epoch + 1, 0)

    def _metrics(self) -> list[Any]:
        """What the metrics of the epoch have counted; of one process only, since several count together."""
        alone = compat.number_of_workers() == 1
        return [variable for one in self.model.metrics for variable in one.variables] if alone else []

    def _count_on(self) -> None:
        """Adds what metrics had counted before; they are there once they have counted something."""
        for variable, value in zip(self._metrics(), self._counted, strict=True) if self._counted else ():
            compat.assign(variable, compat.read_statistic(variable) + value)
        self._counted = []

    def save(self, epoch: int, batch: int) -> None:
        """Makes a backup; training goes on where that fails, for a full disk most of all."""
        self._saved_at = time.monotonic()
        if not self.writes:
            return
        kept = [callback.kept() for callback in self._keepers]
        state = [*compat.state_variables(self.model), *(self._metrics() if batch else ())]
        arrays = [compat.read_alone(variable) for variable in state]
        try:
            write_backup(self.path, arrays, {"epoch": epoch, "batch": batch, "kept": kept})
        except OSError as error:
            told = f"No backup could be written ({error.strerror or error}); training goes on, and the older one stays."
            print(f"{told} Received: {self.path}.", file=sys.stderr, flush=True)


def write_backup(path: Path, arrays: Sequence[np.ndarray], about: dict[str, Any]) -> None:
    """Writes a backup in the place of the older one, complete or not at all.

    Args:
        path: of the file.
        arrays: in the order in which they are read.
        about: for JSON.

    Raises:
        OSError: if it cannot be written; the older one is as it was.
    """
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("wb") as file:
            text = np.frombuffer(json.dumps(about).encode(), np.uint8)
            np.savez(file, about=text, **{str(index): one for index, one in enumerate(arrays)})  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_backup(path: Path) -> tuple[list[np.ndarray], dict[str, Any]] | None:
    """The arrays of a backup and what goes with them; `None` where there is none.

    Raises:
        FlagError: if the file is damaged.
    """
    try:
        with np.load(path) as file:
            arrays = [file[str(index)] for index in range(len(file.files) - 1)]
            return arrays, json.loads(file["about"].tobytes())
    except FileNotFoundError:
        return None
    except (zipfile.BadZipFile, ValueError, KeyError, OSError) as error:
        raise FlagError(
            f"--resume needs a backup that can be read; begin anew with --overwrite. Received: {path} ({error})."
        ) from error
