"""Images that TensorFlow does not decode: TIFF of any depth and number of bands, and bytes made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.predict import PictureError, Scaling, open_picture

MAPS = (".tif", ".tiff")
RGB = 3
AS_IT_IS = Scaling()


@dataclass(frozen=True)
class Reading:
    """Which numbers of an image a model is trained on.

    Attributes:
        count: of bands.
        bands: their numbers, from 1; empty for all.
        scaling: what makes bytes of the numbers; what goes beyond 0 to 255 is clipped.
    """

    count: int = RGB
    bands: tuple[int, ...] = ()
    scaling: Scaling = AS_IT_IS

    def is_plain(self, path: Path) -> bool:
        """Whether an image is 8-bit RGB as it stands, which TensorFlow decodes faster."""
        return path.suffix not in MAPS and not self.bands and self.scaling == AS_IT_IS and self.count == RGB


PLAIN = Reading()


def told(reading: Reading) -> dict[str, Any]:
    """What files should tell `segopt-predict` of it; nothing for plain images."""
    if reading == PLAIN:
        return {}
    shown = {"bands": reading.bands, "scale": reading.scaling.factor, "offset": reading.scaling.offset}
    return {
        "input_scaling": f"{reading.count} bands, scaled to 0 to 255; the model scales those",
        **{name: list(value) for name, value in shown.items() if value},
    }


def read_map(path: Path, reading: Reading) -> np.ndarray:
    """An image as bytes.

    Args:
        path: the file.
        reading: which bands, and how they are scaled.

    Returns:
        `(height, width, bands)` uint8.

    Raises:
        PictureError: if it has other bands, must be scaled, or needs a package that is not installed.
        FormatError: if it is damaged.
    """
    with open_picture(path, count=reading.count, bands=reading.bands) as picture:
        height, width = picture.size
        return reading.scaling.apply(picture.read(slice(0, height), slice(0, width)), "uint8")


def read_ids(path: Path) -> np.ndarray:
    """The class ids of a mask of one band.

    Returns:
        `(height, width)` uint8.

    Raises:
        PictureError: if it holds anything but whole numbers from 0 to 255, or needs a package that is not installed.
        FormatError: if it is damaged.
    """
    with open_picture(path, count=1) as picture:
        height, width = picture.size
        ids = picture.read(slice(0, height), slice(0, width))[..., 0]
    if not np.array_equal(ids, ids.astype(np.uint8)):
        raise PictureError("must hold class ids, whole numbers from 0 to 255; convert it.")
    return ids.astype(np.uint8)
