"""The mIoU of whole images, whose tiles overlap and are blended, as `segopt-predict` does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from segopt_callbacks.arrays import blended
from train_unet.data import load_whole
from train_unet.folder import DataFolder

OVERLAP = 0.25  # of a tile, the default of `segopt-predict`


def whole_images_miou(model: Any, folder: DataFolder, split: str) -> float:
    """Mean over the classes of intersection over union, of the pixels of whole images.

    Args:
        model: answers a batch of tiles `(1, *folder.image_size, bands)` with logits.
        folder: the images.
        split: `"val"` or `"test"`.

    Returns:
        the mean; a class with neither a true nor a predicted pixel is left out, as by `keras.metrics.MeanIoU`.
    """
    classes = len(folder.classes)
    confusion = np.zeros((classes, classes), np.int64)
    height, width = folder.image_size
    overlap = int(OVERLAP * height), int(OVERLAP * width)

    def run(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict_on_batch(pixels[np.newaxis]))[0]

    for image, mask in load_whole(folder, split).as_numpy_iterator():
        for top, logits in blended(mask.shape, _reader(image), run, folder.image_size, overlap):
            truth, predicted = mask[top : top + len(logits)], logits.argmax(axis=-1)
            known = truth < classes
            pairs = truth[known].astype(np.int64) * classes + predicted[known]
            confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    return mean_iou(confusion)


def _reader(image: np.ndarray) -> Callable[[slice, slice], np.ndarray]:
    return lambda rows, columns: image[rows, columns]


def mean_iou(confusion: np.ndarray) -> float:
    """Mean over the classes that occur of intersection over union; rows are true classes, columns predicted ones.

    Example:
        >>> mean_iou(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
        0.775
    """
    overlap = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - overlap
    return float(np.mean(overlap[union > 0] / union[union > 0]))
