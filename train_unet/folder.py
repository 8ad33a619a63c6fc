"""The folder format of a segmentation data set, and every fault that it can have.

images/NAME.jpg (or .jpeg, .png, .tif)   masks/NAME.png (or .tif; 8-bit grey: class ids)
split.csv (`name,split,...`; split is train, val or test)
classes.json (`classes`, optional `palette`, `tile`, and `ignore`: the class id left out of loss and metric)
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from train_unet.pairs import check_pair, size_text
from train_unet.reading import PLAIN, Reading

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
    description = _read_classes(root / "classes.json", faults)
    if ignore_class is not None and description:
        description["ignore"] = _class_id(ignore_class, description["classes"], faults)
    names = _read_splits(root / "split.csv", faults)
    known = len(description["classes"]) if description else 256
    with ThreadPoolExecutor() as pool:
        checked = {
            split: list(pool.map(lambda name: check_pair(root, name, known, reading), names[split])) for split in SPLITS
        }
    every = [pair for split in SPLITS for pair in checked[split]]
    faults += [fault for pair in every for fault in pair.faults]
    sizes = {} if tile else {pair.image: pair.size for pair in every if pair.size}
    size = (tile, tile) if tile else _common_size(sizes, description, faults)
    if any(side % size_multiple for side in size):
        what = "--tile" if tile else "images: height and width"
        faults.append(f"{what} must be multiples of {size_multiple}; crop. Received: {size_text(size)}.")
    if faults:
        raise DataFolderError(root, faults)
    ignore = description.get("ignore")
    kept = [i for i in range(known) if i != ignore]
    palette = np.array(description.get("palette") or _default_palette(known), np.uint8)
    palette = np.concatenate([palette[kept], palette[[ignore]] if ignore is not None else np.zeros((1, 3), np.uint8)])
    return DataFolder(
        root,
        tuple(description["classes"][i] for i in kept),
        palette,
        ignore,
        size,
        {split: [(pair.image, pair.mask) for pair in checked[split]] for split in SPLITS},
        {split: [pair.size or (0, 0) for pair in checked[split]] for split in SPLITS},
        np.sum([pair.counts for pair in checked["train"]], axis=0)[kept],
        tile is not None,
        reading,
    )


def _class_id(given: str, classes: list[str], faults: list[str]) -> int | None:
    if given in classes:
        return classes.index(given)
    if given.isdecimal() and int(given) < len(classes):
        return int(given)
    faults.append(f"--ignore_class must be a class, by name or id: {', '.join(classes)}. Received: {given}.")
    return None


def _read_classes(path: Path, faults: list[str]) -> dict[str, Any]:
    """The content of classes.json, `{}` where it is of no use."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        faults.append(f"{path.name}: is missing; it names the classes, such as " + '{"classes": ["water", "land"]}.')
        return {}
    except ValueError as error:
        faults.append(f"{path.name}: must be JSON in UTF-8 ({error}).")
        return {}
    classes = content.get("classes") if isinstance(content, dict) else None
    if not (isinstance(classes, list) and 2 <= len(classes) <= 255 and all(isinstance(name, str) for name in classes)):
        faults.append(f'{path.name}: "classes" must be a list of 2 to 255 names. Received: {classes!r}.')
        return {}
    before = len(faults)
    ignore, palette, tile = content.get("ignore"), content.get("palette"), content.get("tile")
    if ignore is not None and not (_is_int(ignore) and 0 <= ignore < len(classes)):
        faults.append(f'{path.name}: "ignore" must be a class id from 0 to {len(classes) - 1}. Received: {ignore!r}.')
    if palette is not None and not _is_palette(palette, len(classes)):
        faults.append(f'{path.name}: "palette" must hold {len(classes)} colours [red, green, blue], each 0 to 255.')
    if tile is not None and not (_is_int(tile) and tile > 0):
        faults.append(f'{path.name}: "tile" must be the images\' height and width in pixels. Received: {tile!r}.')
    return content if len(faults) == before else {}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_palette(palette: Any, classes: int) -> bool:
    colours = palette if isinstance(palette, list) and len(palette) == classes else [None]
    return all(
        isinstance(colour, list) and len(colour) == 3 and all(_is_int(part) and 0 <= part <= 255 for part in colour)
        for colour in colours
    )


def _default_palette(classes: int) -> np.ndarray:
    # The bits of the id, spread over the three channels from the highest down: neighbours differ clearly.
    ids = np.arange(classes)
    bits = [(ids >> 3 * level) & (1 << channel) > 0 for level in range(3) for channel in range(3)]
    return np.stack([sum(bits[3 * level + c] * (128 >> level) for level in range(3)) for c in range(3)], axis=-1)


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
