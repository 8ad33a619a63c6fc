"""An image and its mask: read, decoded and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from segopt_callbacks.errors import FormatError
from segopt_callbacks.predict import PictureError
from train_unet.reading import MAPS, RGB, Reading, read_ids, read_map

SUFFIXES = (".jpg", ".jpeg", ".png", *MAPS)
PNG_SIGNATURE, GREY_8_BIT = b"\x89PNG\r\n\x1a\n", b"\x08\x00"  # the latter: bit depth and colour type


@dataclass(frozen=True)
class Pair:
    """What was found of one name.

    Attributes:
        image: path of the image.
        mask: path of the mask.
        size: `(height, width)` of the image in pixels, `None` if it cannot be read.
        counts: `(classes,)`, pixels of each class id in the mask; zeros if it cannot be read.
        faults: one sentence for each, beginning with the file's path inside the folder.
    """

    image: Path
    mask: Path
    size: tuple[int, int] | None
    counts: np.ndarray
    faults: list[str]


def check_pair(root: Path, name: str, classes: int, reading: Reading) -> Pair:
    """Looks for an image and its mask, and decodes both.

    Args:
        root: the data folder.
        name: the files' name without ending.
        classes: number of classes; a mask holds ids below it.
        reading: which bands images have, and how they become bytes.

    Returns:
        the pair, with all its faults.
    """
    faults: list[str] = []
    image = _find_image(root, name, faults)
    pixels = None if image is None else _read_image(image, reading, faults)
    mask = _find_mask(root, name)
    ids = _read_mask(mask, faults)
    return compared(image or root / "images" / name, mask, pixels, ids, classes, faults)


def compared(
    image: Path, mask: Path, pixels: np.ndarray | None, ids: np.ndarray | None, classes: int, faults: list[str]
) -> Pair:
    """An image and a mask that are decoded, or `None`, as a pair with all its faults.

    Args:
        image: where the image is.
        mask: where the mask is.
        pixels: `(height, width, bands)` of the image.
        ids: `(height, width)` of the mask.
        classes: number of classes; a mask holds ids below it.
        faults: what is known already.
    """
    name = _name(mask)
    if ids is not None and ids.max(initial=0) >= classes:
        wrong = ", ".join(map(str, np.unique(ids[ids >= classes])[:8]))
        faults.append(f"{name}: class ids must be 0 to {classes - 1}. Received: {wrong}.")
    size = None if pixels is None else (pixels.shape[0], pixels.shape[1])
    if size and ids is not None and ids.shape != size:
        sizes = f"image {size_text(size)}, mask {size_text(ids.shape)}"
        faults.append(f"{name}: must be as large as its image. Received: {sizes}.")
    counts = np.zeros(classes, np.int64) if ids is None else np.bincount(ids.ravel(), minlength=classes)[:classes]
    return Pair(image, mask, size, counts, faults)


def size_text(size: tuple[int, ...]) -> str:
    """Height and width, as faults tell them.

    >>> size_text((128, 64))
    '128x64 (height x width)'
    """
    return f"{size[0]}x{size[1]} (height x width)"


def _find_image(root: Path, name: str, faults: list[str]) -> Path | None:
    found = [path for suffix in SUFFIXES if (path := root / "images" / f"{name}{suffix}").is_file()]
    if not found:
        faults.append(f"images/{name}.jpg: is missing (.jpeg, .png and .tif count too), but split.csv names it.")
    if len(found) > 1:
        faults.append(f"images/{name}: must be one file. Received: {', '.join(path.name for path in found)}.")
    return found[0] if found else None


def _find_mask(root: Path, name: str) -> Path:
    places = [root / "masks" / f"{name}{suffix}" for suffix in (".png", *MAPS)]
    return next((place for place in places if place.is_file()), places[0])


def _read_image(image: Path, reading: Reading, faults: list[str]) -> np.ndarray | None:
    """`(height, width, bands)` uint8, `None` if it cannot be used."""
    if not reading.is_plain(image):
        return _told(image, lambda: read_map(image, reading), faults)
    return decoded_image(image.read_bytes(), image, faults)


def _told(path: Path, read: Callable[[], np.ndarray], faults: list[str]) -> np.ndarray | None:
    try:
        return read()
    except (PictureError, FormatError, OSError) as error:
        faults.append(f"{_name(path)}: {error}")
        return None


def _read_mask(mask: Path, faults: list[str]) -> np.ndarray | None:
    """`(height, width)` class ids, `None` if they cannot be read."""
    if not mask.is_file():
        faults.append(f"masks/{mask.name}: is missing, but split.csv names it.")
        return None
    if mask.suffix in MAPS:
        return _told(mask, lambda: read_ids(mask), faults)
    return decoded_mask(mask.read_bytes(), mask, faults)


def decoded_image(content: bytes, place: Path, faults: list[str]) -> np.ndarray | None:
    """The bytes of a JPEG or PNG file -> `(height, width, 3)` uint8; `None`, and a fault, where they are none."""
    pixels = _decoded(content, place, faults)
    if pixels is not None and pixels.shape[-1] != RGB:
        name = place.with_suffix("") if place.suffix in SUFFIXES else place
        faults.append(f"{_name(name)}: must be RGB; convert it. Received: {pixels.shape[-1]} channels.")
    return pixels


def decoded_mask(content: bytes, place: Path, faults: list[str]) -> np.ndarray | None:
    """The bytes of a PNG file -> `(height, width)` class ids; `None`, and a fault, where they are none."""
    pixels = _decoded(content, place, faults)
    if pixels is None:
        return None
    # A decoder expands a palette, or fewer bits, to other values, and takes a JPEG too, whose ids are blurred.
    if content[:8] != PNG_SIGNATURE or content[24:26] != GREY_8_BIT:
        faults.append(f"{_name(place)}: must be an 8-bit grey PNG of class ids; convert it (no palette, no JPEG).")
        return None
    return pixels[..., 0]


def _decoded(content: bytes, place: Path, faults: list[str]) -> np.ndarray | None:
    """`(height, width, channels)` uint8."""
    try:
        return tf.io.decode_image(content, expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError:
        faults.append(f"{_name(place)}: cannot be decoded, truncated or no JPEG or PNG file; replace it.")
        return None


def _name(path: Path) -> str:
    """A file as faults name it: with the folder that it lies in."""
    return f"{path.parent.name}/{path.name}"
