"""One fit of the command: where its files go, how it tells of itself, what it saves."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segopt_callbacks import export_model
from segopt_callbacks.compat import Callback, keras
from train_unet import unet  # noqa: F401  (a saved model is loaded by its class)
from train_unet.backup import Backup
from train_unet.waiting import InputWait

# Arguments that `export_model` and its callback share.
_OPTIONS = (
    *("formats", "representative_dataset", "evaluation_data", "metrics", "metadata", "baselines", "latency"),
    *("float_fallback", "allow_float", "sparse", "accelerator", "remove_channels"),
)


def fit(
    model: Any,
    data: dict[str, Any],
    epochs: int,
    callbacks: list[Any],
    backup: Backup,
    wait: InputWait | None = None,
) -> None:
    """Trains with a progress bar, or a line for each epoch where the output is no terminal; goes on from the backup."""
    print(f"Training {model.count_params():,} weights for {epochs} epochs of {len(data['train'])} steps.")
    epoch, batch = backup.place
    if epoch or batch:
        print(f"Going on in epoch {epoch + 1}, behind {batch} of its steps.")
    model.fit(
        wait.watch(data["train"]) if wait else data["train"],
        epochs=epochs,
        initial_epoch=epoch,
        validation_data=data["val"],
        callbacks=[*([wait] if wait else []), *callbacks, backup],
        shuffle=False,  # the dataset shuffles itself
        verbose=1 if sys.stdout.isatty() else 2,
    )


def evaluate(model: Any, test: Any) -> float:
    """The mIoU on the test split."""
    return float(model.evaluate(test, verbose=0, return_dict=True)["mIoU"])


def export_saved(callback: Any, path: Path, ranges: dict[str, Any]) -> Any:
    """Exports a saved model as a callback would have done at the end of its fit.

    Args:
        callback: an `ExportQuantizedCallback`.
        path: of the `.keras` file.
        ranges: that the fit has learned, by tensors' names.

    Returns:
        the report.
    """
    options = {name: getattr(callback, name) for name in _OPTIONS}
    return export_model(keras.models.load_model(path), callback.export_dir, ranges=ranges or None, **options)


class SaveOnTrainEnd(keras.callbacks.Callback):
    """Saves the whole model after the fit; the file appears under its name only when it is complete.

    Args:
        path: of the `.keras` file.
        writes: whether the file is this process's to write. All that train the model save it, since they ask each
            other for moving statistics; what the others have saved is thrown away.
    """

    def __init__(self, path: str | Path, *, writes: bool = True) -> None:
        super().__init__()
        self.path = Path(path)
        self.writes = writes

    def on_train_end(self, logs: Any = None) -> None:
        if not self.writes:
            with tempfile.TemporaryDirectory() as folder:
                self.model.save(Path(folder) / self.path.name)
            return
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
