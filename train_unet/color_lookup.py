"""What colour alone can tell: the majority class of each colour, counted over the training pixels.

The mIoU of this lookup on the test split is what a network has to beat.
"""

from __future__ import annotations

import numpy as np

from train_unet.data import load
from train_unet.folder import DataFolder

LEVELS = 32  # of each channel: 8 neighbouring byte values are one colour


def pixels(folder: DataFolder, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Colours and class ids, `(pixels,)` each, of the labelled pixels of a split."""
    images, masks = zip(*load(folder, split).as_numpy_iterator(), strict=True)
    rgb = np.stack(images).reshape(-1, 3).astype(np.int64) * LEVELS // 256
    ids = np.stack(masks).ravel().astype(np.int64)
    labelled = ids < len(folder.classes)
    return (rgb @ [LEVELS * LEVELS, LEVELS, 1])[labelled], ids[labelled]


def majority(colours: np.ndarray, ids: np.ndarray, classes: int) -> np.ndarray:
    """`(LEVELS ** 3,)`, the most frequent class of each colour; a colour never seen gets the most frequent of all."""
    counts = np.zeros((LEVELS**3, classes), np.int64)
    np.add.at(counts, (colours, ids), 1)
    return np.where(counts.any(axis=1), counts.argmax(axis=1), counts.sum(axis=0).argmax())


def mean_iou(truth: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean over the classes that occur of intersection over union."""
    confusion = np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
    overlap = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - overlap
    return float(np.mean(overlap[union > 0] / union[union > 0]))


def score(folder: DataFolder) -> float:
    """The lookup's mIoU on the test split."""
    classes = len(folder.classes)
    lookup = majority(*pixels(folder, "train"), classes)
    colours, ids = pixels(folder, "test")
    return mean_iou(ids, lookup[colours], classes)
