"""A TFDS data set as what a data folder is to training: checked, with its classes, sizes and pixel counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flags.data import TFDS
from train_unet.classes import class_id, default_palette
from train_unet.folder import SPLITS, DataFolder, DataFolderError, check_multiple, palette_of
from train_unet.pairs import size_text
from train_unet.reading import PLAIN, Reading
from train_unet.tfds_builder import check_splits, choose_keys, choose_splits, find
from train_unet.tfds_records import IDS, TfdsRecords

MOST_CLASSES = 255  # as of a data folder
SHOWN = 3  # sizes that a fault tells


def open_tfds(
    name: str,
    *,
    keys: Sequence[str] = (),
    splits: Sequence[str] = (),
    size_multiple: int = 1,
    tile: int | None = None,
    ignore_class: str | None = None,
    reading: Reading = PLAIN,
) -> DataFolder:
    """Checks a prepared TFDS data set: every mask is decoded, and no image.

    Args:
        name: of the data set.
        keys: of image and mask; found by their kinds when not given.
        splits: for training, validation and test; the data set's own when not given.
        size_multiple: what height and width must be multiples of, in pixels.
        tile: height and width of the tiles into which images are cut; `None` where all have one size.
        ignore_class: name or id of the class that is left out of loss and metric.
        reading: which bands images have, and how they become bytes.

    Returns:
        the data set. Its classes are those that the mask's feature names, else the ids that occur.

    Raises:
        FlagError: if there is no such data set, key or split, or TFDS is not installed.
        DataFolderError: with all faults of what it holds.
    """
    records, faults = _records(name, keys, splits, reading), list[str]()
    scans = {split: records.scan(split, faults) for split in SPLITS}
    sizes = {split: scans[split][0] for split in SPLITS}
    image, mask = records.features
    _check_bands(image, reading, faults)
    classes = _classes(mask, np.flatnonzero(sum(counts for _, counts in scans.values())), ignore_class, faults)
    size = (tile, tile) if tile else _common_size([one for split in SPLITS for one in sizes[split]], faults)
    check_multiple(size, size_multiple, tile, faults)
    root = Path(f"{TFDS}{records.builder.info.full_name}")
    if faults:
        raise DataFolderError(root, faults)
    return DataFolder(
        root,
        tuple(classes.names[index] for index in classes.kept),
        palette_of(default_palette(len(classes.ids)), classes.kept, classes.ignore),
        classes.ignore,
        size,
        {split: [(place, place) for place in records.places(split, len(sizes[split]))] for split in SPLITS},
        sizes,
        scans["train"][1][classes.ids][classes.kept],
        tile is not None,
        reading,
        dataclasses.replace(records, classes=classes.table),
    )


def _records(name: str, keys: Sequence[str], splits: Sequence[str], reading: Reading) -> TfdsRecords:
    """What reads the data set; its classes are not known yet."""
    builder = find(name)
    pair = choose_keys(builder.info.features, keys)
    chosen = choose_splits(list(builder.info.splits), splits)
    check_splits(builder.info.splits, chosen)
    return TfdsRecords(builder, pair, dict(zip(SPLITS, chosen, strict=True)), reading, np.zeros(IDS, np.uint8))


@dataclass(frozen=True)
class _Classes:
    """Ids of masks, in order, with the names of their classes; `ignore` is the index of the ignored one."""

    ids: list[int]
    names: list[str]
    ignore: int | None

    @property
    def kept(self) -> list[int]:
        return [index for index in range(len(self.ids)) if index != self.ignore]

    @property
    def table(self) -> np.ndarray:
        """`(IDS,)` uint8, the index of each id."""
        table = np.zeros(IDS, np.uint8)
        table[self.ids] = np.arange(len(self.ids))
        return table


def _check_bands(image: Any, reading: Reading, faults: list[str]) -> None:
    channels, kind = image.shape[-1], np.dtype(image.np_dtype)
    if max(reading.bands, default=1) > channels or (not reading.bands and channels != reading.count):
        shown = ",".join(map(str, reading.bands)) or "none"
        faults.append(f"--bands must name bands of the {channels} that images have. Received: {shown}.")
    if kind != np.uint8 and not reading.scaling.factor:
        faults.append(f"--scale must bring {kind.name} to 0 to 255; such as 0.00389105. Received: none.")


def _classes(mask: Any, occurring: np.ndarray, ignore_class: str | None, faults: list[str]) -> _Classes:
    """The classes that a feature names, and whatever other ids occur; of the latter one may be ignored."""
    known = list(mask.names) if getattr(mask, "num_classes", None) else []
    ids = sorted({*range(len(known)), *map(int, occurring)})
    names = [known[one] if one < len(known) else str(one) for one in ids]
    if not 2 <= len(ids) <= MOST_CLASSES:
        faults.append(f"masks: must hold 2 to {MOST_CLASSES} classes; choose another mask. Received: {len(ids)}.")
        return _Classes([], [], None)
    ignore = None if ignore_class is None else class_id(ignore_class, names, faults)
    wrong = [str(one) for index, one in enumerate(ids) if one >= len(known) > 0 and index != ignore]
    if wrong:
        rule = f"class ids must be 0 to {len(known) - 1}; --ignore_class leaves another out"
        faults.append(f"masks: {rule}. Received: {', '.join(wrong[:SHOWN])}.")
    return _Classes(ids, names, ignore)


def _common_size(sizes: list[tuple[int, int]], faults: list[str]) -> tuple[int, int]:
    """The `(height, width)` of all images."""
    different = sorted(set(sizes))
    if len(different) > 1:
        shown = ", ".join(size_text(size) for size in different[:SHOWN])
        faults.append(
            f"images: must have one size; with --tile=128 they may have any. Received: {len(different)} sizes, {shown}."
        )
    return different[0] if different else (0, 0)
