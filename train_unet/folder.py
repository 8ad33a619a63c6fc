"""The folder format of a segmentation data set, and every fault that it can have.

images/NAME.jpg (or .jpeg, .png, .tif)   masks/NAME.png (or .tif; 8-bit grey: class ids)
split.csv (`name,split,...`; split is train, val or test)
classes.json (`classes`, optional `palette`, `tile`, and `ignore`: the class id left out of loss and metric)

In place of images/, masks/ and split.csv there may be TFRecord shards, see `records`.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from train_unet.classes import class_id, default_palette, read_classes
from train_unet.pairs import Pair, check_pair, size_text
from train_unet.reading import PLAIN, Reading
from train_unet.records import Records, Shards, check_shards, shards_of

SPLITS = ("train", "val", "test")


class DataFolderError(ValueError):
    """A data folder that cannot be trained on.

    Attributes:
        faults: one sentence for each fault, beginning with the file's name.
    """

    def __init__(self, root: Path, faults: list[str]) -> None:
        self.faults = faults
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        super().__init__("\n".join([f"{root}: {count}; correct them and start again.", *(f"  {f}" for f in faults)]))


@dataclass(frozen=True)
class DataFolder:
    """A checked data folder.

    Attributes:
        root: the folder.
        classes: names of the classes that a model predicts, by id; the ignored one is left out.
        palette: `(classes + 1, 3)` uint8 colours of the classes, then of the ignored class.
        ignore: id of the ignored class in the folder's masks, or `None`.
        image_size: `(height, width)` of what a model is fed, in pixels: of every image, or of the tiles.
        pairs: split -> `(image, mask)` files, by name.
        sizes: split -> `(height, width)` of each image.
        counts: `(classes,)`, pixels of each class in the training masks.
        is_tiled: whether images of any size are cut into tiles.
        reading: which bands images have, and how they become bytes.
        records: what reads a data set that is not in files of its own; then `pairs` are `SHARD/NUMBER`.
    """

    root: Path
    classes: tuple[str, ...]
    palette: np.ndarray
    ignore: int | None
    image_size: tuple[int, int]
    pairs: dict[str, list[tuple[Path, Path]]]
    sizes: dict[str, list[tuple[int, int]]]
    counts: np.ndarray
    is_tiled: bool = False
    reading: Reading = PLAIN
    records: Records | None = None

    def decoded_bytes(self, split: str) -> int:
        """What the images and masks of a split take in memory."""
        return sum(height * width for height, width in self.sizes[split]) * (self.reading.count + 1)

    def tiles(self, split: str) -> int:
        """What an epoch has of a split: the images, or the tiles that cover them."""
        if not self.is_tiled:
            return len(self.pairs[split])
        return sum(-(-h // self.image_size[0]) * -(-w // self.image_size[1]) for h, w in self.sizes[split])


def open_folder(
    data_dir: str | Path,
    *,
    size_multiple: int = 1,
    tile: int | None = None,
    ignore_class: str | None = None,
    reading: Reading = PLAIN,
) -> DataFolder:
    """Checks a whole data folder: each file is read and decoded.

    Args:
        data_dir: the folder.
        size_multiple: what height and width must be multiples of, in pixels (a U-Net of depth d needs `2 ** d`).
        tile: height and width of the tiles into which images of any size are cut; `None` where all have one size.
        ignore_class: name or id of the class that is left out of loss and metric, in place of that of classes.json.
        reading: which bands images have, and how they become bytes.

    Returns:
        the folder, ready for `train_unet.data.datasets`.

    Raises:
        DataFolderError: with all faults at once.
    """
    root, faults = Path(data_dir), list[str]()
    if not root.is_dir():
        raise DataFolderError(root, [f"{root.name}: must be a folder of images/, masks/, split.csv and classes.json."])
    description = read_classes(root / "classes.json", faults)
    if ignore_class is not None and description:
        description["ignore"] = class_id(ignore_class, description["classes"], faults)
    known = len(description["classes"]) if description else 256
    shards = shards_of(root, SPLITS)
    if shards:
        checked = check_shards(shards, known, faults)
        if reading != PLAIN:
            faults.append("--bands, --scale and --offset are for files in images/; write other records.")
    else:
        checked = _check_files(root, known, reading, faults)
    every = [pair for split in SPLITS for pair in checked[split]]
    faults += [fault for pair in every for fault in pair.faults]
    sizes = {} if tile else {pair.image: pair.size for pair in every if pair.size}
    size = (tile, tile) if tile else _common_size(sizes, description, faults)
    check_multiple(size, size_multiple, tile, faults)
    if faults:
        raise DataFolderError(root, faults)
    ignore = description.get("ignore")
    kept = [i for i in range(known) if i != ignore]
    return DataFolder(
        root,
        tuple(description["classes"][i] for i in kept),
        palette_of(description.get("palette") or default_palette(known), kept, ignore),
        ignore,
        size,
        {split: [(pair.image, pair.mask) for pair in checked[split]] for split in SPLITS},
        {split: [pair.size or (0, 0) for pair in checked[split]] for split in SPLITS},
        np.sum([pair.counts for pair in checked["train"]], axis=0)[kept],
        tile is not None,
        reading,
        Shards(shards) if shards else None,
    )


def check_multiple(size: tuple[int, int], multiple: int, tile: int | None, faults: list[str]) -> None:
    """Adds a fault where height or width of what a model is fed is no multiple of a number of pixels."""
    if any(side % multiple for side in size):
        what = "--tile" if tile else "images: height and width"
        faults.append(f"{what} must be multiples of {multiple}; crop. Received: {size_text(size)}.")


def palette_of(colours: Sequence[Any] | np.ndarray, kept: Sequence[int], ignore: int | None) -> np.ndarray:
    """`(kept + 1, 3)` uint8 colours of the classes that are trained, then of the ignored one; black where none is."""
    palette = np.array(colours, np.uint8)
    return np.concatenate([palette[kept], palette[[ignore]] if ignore is not None else np.zeros((1, 3), np.uint8)])


def _check_files(root: Path, classes: int, reading: Reading, faults: list[str]) -> dict[str, list[Pair]]:
    names = _read_splits(root / "split.csv", faults)
    with ThreadPoolExecutor() as pool:
        return {
            split: list(pool.map(lambda name: check_pair(root, name, classes, reading), names[split]))
            for split in SPLITS
        }


def _read_splits(path: Path, faults: list[str]) -> dict[str, list[str]]:
    """Names in each split."""
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            rows, header = list(reader), reader.fieldnames or []
    except FileNotFoundError:
        faults.append(f"{path.name}: is missing; its columns are name,split.")
        return names
    except (csv.Error, UnicodeDecodeError) as error:
        faults.append(f"{path.name}: must be comma-separated text in UTF-8 ({error}).")
        return names
    if not {"name", "split"} <= set(header):
        faults.append(f"{path.name}: the first line must name the columns name,split. Received: {','.join(header)}.")
        return names
    for line, row in enumerate(rows, 2):
        name, split = row["name"], row["split"]
        if not name or Path(name).name != name or split not in SPLITS:
            faults.append(
                f"{path.name} line {line}: must be a file's name without ending, then train, val or test. "
                f"Received: {name},{split}."
            )
        else:
            names[split].append(name)
    for name, count in Counter(name for split in SPLITS for name in names[split]).items():
        if count > 1:
            faults.append(f"{path.name}: each name may stand in one split, once. Received: {name} {count} times.")
    faults += [
        f"{path.name}: the split {split} is empty; give it at least one image." for split in SPLITS if not names[split]
    ]
    return names


def _common_size(sizes: dict[Path, tuple[int, int]], description: dict[str, Any], faults: list[str]) -> tuple[int, int]:
    """The `(height, width)` of all images: `tile`, or else the most frequent one."""
    if not sizes:
        return 0, 0
    tile = description.get("tile")
    common = (tile, tile) if tile else Counter(sizes.values()).most_common(1)[0][0]
    for image, size in sizes.items():
        if size != common:
            faults.append(
                f"images/{image.name}: must be {size_text(common)} pixels, as "
                f"{'tile in classes.json says' if tile else 'most images are'}; with --tile images may have any size. "
                f"Received: {size_text(size)}."
            )
    return common
