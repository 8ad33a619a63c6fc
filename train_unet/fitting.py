"""One fit of the command: where its files go, how it tells of itself, what it saves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flags import FlagError
from segopt_callbacks.compat import Callback, keras
from train_unet.waiting import InputWait


def make_output_dir(path: str) -> Path:
    """The folder, made if missing; refused before training rather than after it."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlagError(
            f"--output_dir must be a folder that can be made ({error.strerror}). Received: {path}."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise FlagError(f"--output_dir must be a folder that you may write to; choose another. Received: {path}.")
    return Path(path)


def fit(model: Any, data: dict[str, Any], epochs: int, callbacks: list[Any], check: Callable[[], None]) -> None:
    """Trains with a progress bar, or a line for each epoch where the output is no terminal."""
    print(f"Training {model.count_params():,} weights for {epochs} epochs of {len(data['train'])} steps.")
    wait = InputWait()
    model.fit(
        wait.watch(data["train"]),
        epochs=epochs,
        validation_data=data["val"],
        callbacks=[wait, *callbacks, CheckAfterBatch(check)],
        shuffle=False,  # the dataset shuffles itself
        verbose=1 if sys.stdout.isatty() else 2,
    )


def evaluate(model: Any, test: Any) -> float:
    """The mIoU on the test split."""
    return float(model.evaluate(test, verbose=0, return_dict=True)["mIoU"])


class SaveOnTrainEnd(keras.callbacks.Callback):
    """Saves the whole model after the fit; the file appears under its name only when it is complete.

    Args:
        path: of the `.keras` file.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)

    def on_train_end(self, logs: Any = None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.stem}.partial{self.path.suffix}")
        try:
            self.model.save(partial)
            os.replace(partial, self.path)
        finally:
            partial.unlink(missing_ok=True)


class CheckAfterBatch(Callback):
    """Calls a function behind each batch.

    Args:
        check: what to call.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self.check = check

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.check()
