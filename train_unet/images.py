"""Input, truth and prediction side by side, for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.compat import keras

GAP = 4  # white pixels between two pictures


def side_by_side(images: np.ndarray, truth: np.ndarray, predicted: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Input | truth | prediction of each image in one picture.

    Args:
        images: `(batch, height, width, bands)` uint8; the first three bands are drawn, or one as grey.
        truth: `(batch, height, width)`, class ids; the ignored class is the last colour of the palette.
        predicted: the same shape and ids.
        palette: `(colours, 3)` uint8.

    Returns:
        `(batch, height, 3 * width + 2 * GAP, 3)` uint8.
    """
    gap = np.full((*images.shape[:2], GAP, 3), 255, np.uint8)
    shown = images[..., :3] if images.shape[3] >= 3 else images[..., [0, 0, 0]]
    return np.concatenate([shown, gap, palette[truth], gap, palette[predicted]], axis=2)


class PredictionImages(keras.callbacks.Callback):
    """Writes `input | truth | prediction` pictures to TensorBoard after epochs 1, 2, 4, 8 and so on, and the last.

    TensorBoard shows ten of a kind at most, and pictures are most of a log's bytes.

    Args:
        log_dir: of TensorBoard; the pictures go to `log_dir/images`.
        data: `(images, masks)`: `(batch, height, width, 3)` uint8 and `(batch, height, width)` class ids.
        palette: `(colours, 3)` uint8, by class id; the last colour is the ignored class's.
    """

    def __init__(self, log_dir: str | Path, data: tuple[np.ndarray, np.ndarray], *, palette: np.ndarray) -> None:
        super().__init__()
        self.log_dir = Path(log_dir)
        self.data = data
        self.palette = palette
        self._writer: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        folder = str(self.log_dir / "images")
        is_chief = compat.is_chief(self.model)
        self._writer = tf.summary.create_file_writer(folder) if is_chief else tf.summary.create_noop_writer()
        self._last, self._is_drawn = 0, True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        ended = epoch + 1
        self._last, self._is_drawn = epoch, ended & (ended - 1) == 0
        if self._is_drawn:
            self._draw(epoch)

    def _draw(self, epoch: int) -> None:
        images, truth = self.data
        logits = self.model.predict_on_batch(images)  # (batch, height, width, classes)
        pictures = side_by_side(images, truth, np.argmax(logits, axis=-1), self.palette)
        with self._writer.as_default():
            tf.summary.image("input | truth | prediction", pictures, step=epoch, max_outputs=len(pictures))
            self._writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        if not self._is_drawn:
            self._draw(self._last)
        self._writer.close()
