"""What colour alone can tell: the majority class of each colour, counted over the training pixels.

The mIoU of this lookup on the test split is what a network has to beat.
"""

from __future__ import annotations

import numpy as np

from train_unet.data import load
from train_unet.evaluating import mean_iou
from train_unet.folder import DataFolder

LEVELS = 32  # of each band: 8 neighbouring byte values are one colour
BANDS = 3  # at most; more would make a table that no training set fills


def count(folder: DataFolder, split: str) -> np.ndarray:
    """`(colours, classes)`, the labelled pixels of a split; one image after the other is in memory."""
    bands, classes = min(folder.reading.count, BANDS), len(folder.classes)
    place = LEVELS ** np.arange(bands)
    counts = np.zeros(LEVELS**bands * classes, np.int64)
    for image, mask in load(folder, split).as_numpy_iterator():
        labelled = mask < classes
        colours = image[labelled][:, :bands].astype(np.int64) * LEVELS // 256 @ place
        counts += np.bincount(colours * classes + mask[labelled], minlength=len(counts))
    return counts.reshape(-1, classes)


def majority(counts: np.ndarray) -> np.ndarray:
    """`(colours,)`, the most frequent class of each colour; a colour never seen gets the most frequent of all."""
    return np.where(counts.any(axis=1), counts.argmax(axis=1), counts.sum(axis=0).argmax())


def score(folder: DataFolder) -> float:
    """The lookup's mIoU on the test split."""
    predicted, counts = majority(count(folder, "train")), count(folder, "test")
    confusion = np.zeros((counts.shape[1], counts.shape[1]), np.int64)
    np.add.at(confusion.T, predicted, counts)
    return mean_iou(confusion)
