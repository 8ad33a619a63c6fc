"""What colour alone can tell: the majority class of each colour, counted over the training pixels.

    python benchmarks/color_lookup.py [DATA_DIR]

The mIoU of this lookup on the test split is what a network has to beat.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from train_unet.data import load
from train_unet.folder import DataFolder, open_folder

LEVELS = 32  # of each channel: 8 neighbouring byte values are one colour
LANDCOVER = Path(__file__).resolve().parent.parent / "train_unet" / "data" / "landcover"


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


def score(data_dir: str | Path = LANDCOVER) -> float:
    """The lookup's mIoU on the test split."""
    folder = open_folder(data_dir)
    classes = len(folder.classes)
    lookup = majority(*pixels(folder, "train"), classes)
    colours, ids = pixels(folder, "test")
    return mean_iou(ids, lookup[colours], classes)


if __name__ == "__main__":
    print(f"colour lookup, {LEVELS} levels a channel: test mIoU {score(*sys.argv[1:2]):.4f}")
