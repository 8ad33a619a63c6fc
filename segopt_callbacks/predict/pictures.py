"""Images of any size, depth and number of bands: PNG, JPEG and others through Pillow, TIFF through rasterio."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import damage_is_named

TIFF = (".tif", ".tiff")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", *TIFF)
# Pillow's name of pixels that are 1 bit, a number in a table of colours, or other colours -> what to make of them.
_CONVERTED = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}
_GEO = "'segopt-callbacks[geo]'"
_PNG, _DEEP = b"\x89PNG\r\n\x1a\n", ((16, 2), (16, 4), (16, 6))  # bits and colour type of what Pillow makes 8 bits of


class PictureError(ValueError):
    """An image that cannot be used; the message is the cause and the remedy."""


@dataclass(frozen=True)
class Picture:
    """An image whose parts can be read; pixels without a value are 0.

    Attributes:
        size: height and width in pixels.
        dtype: of its numbers, such as `"uint16"`.
        bands: numbers of the bands that are read, from 1.
        is_map: whether it may have a georeference, and pixels without a value.
        dataset: rasterio's, where that reads it.
        content: all pixels `(height, width, bands)`, where there is no `dataset`.
    """

    size: tuple[int, int]
    dtype: str
    bands: tuple[int, ...]
    is_map: bool = False
    dataset: Any = None
    content: np.ndarray | None = None

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """The pixels `(height, width, bands)` of a part."""
        if self.content is not None:
            return self.content[rows, columns][..., [band - 1 for band in self.bands]]
        with damage_is_named("reading it"):
            pixels = self.dataset.read(self.bands, window=_window(rows, columns), masked=True).filled(0)
        return np.nan_to_num(np.moveaxis(pixels, 0, -1), nan=0.0, posinf=0.0, neginf=0.0)

    def valid(self, rows: slice) -> np.ndarray | None:
        """Whether each pixel of whole rows has a value, `(height, width)`; `None` where all of an image have."""
        if not self.is_map:
            return None
        window = _window(rows, slice(0, self.size[1]))
        with damage_is_named("reading its mask"):
            known = self.dataset.dataset_mask(window=window) > 0
            if np.issubdtype(self.dtype, np.floating):
                known &= np.isfinite(self.dataset.read(self.bands, window=window)).all(axis=0)
        return known


@contextlib.contextmanager
def open_picture(path: Path, *, count: int | None, bands: Sequence[int] = ()) -> Iterator[Picture]:
    """Opens an image for as long as the body runs.

    Args:
        path: the file. Its orientation in EXIF is left alone: the answer has to fit the pixels.
        count: of bands that are wanted; `None` for any.
        bands: numbers of those to read, from 1; by default all, without transparency. A grey image gives its band three
            times where three are wanted.

    Raises:
        PictureError: if it has other bands, or needs a package that is not installed.
        FormatError: if it is damaged.
        OSError: if it cannot be read.
    """
    is_map = path.suffix.lower() in TIFF
    if is_map or _is_deep(path):
        rasterio = _package("rasterio", path)
        with contextlib.ExitStack() as stack:
            with damage_is_named("opening it"), warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                dataset = stack.enter_context(rasterio.open(path))
            alpha = [index + 1 for index, one in enumerate(dataset.colorinterp) if one.name == "alpha"]
            chosen = chosen_bands(dataset.count, alpha, count, bands)
            size, dtype = (dataset.height, dataset.width), dataset.dtypes[chosen[0] - 1]
            yield Picture(size, dtype, chosen, is_map, dataset)
        return
    content, has_alpha = _decoded(path)
    alpha = [content.shape[2]] if has_alpha else []
    chosen = chosen_bands(content.shape[2], alpha, count, bands)
    yield Picture((content.shape[0], content.shape[1]), content.dtype.name, chosen, content=content)


def chosen_bands(there: int, alpha: Sequence[int], count: int | None, bands: Sequence[int]) -> tuple[int, ...]:
    """Which bands of an image are read, see `open_picture`.

    Args:
        there: how many it has.
        alpha: numbers of those that are transparency.
        count: how many are wanted.
        bands: those that the user names.

    Raises:
        PictureError: if they do not fit.

    Example:
        >>> chosen_bands(4, [4], 3, []), chosen_bands(1, [], 3, []), chosen_bands(8, [], 3, [5, 3, 2])
        ((1, 2, 3), (1, 1, 1), (5, 3, 2))
    """
    every = tuple(range(1, there + 1))
    if bands:
        if max(bands) > there or count not in (None, len(bands)):
            raise PictureError(f"{count} of its bands 1 to {there} must be named. Received: --bands={_text(bands)}.")
        return tuple(bands)
    plain = tuple(band for band in every if band not in alpha)
    if count is None or count == len(plain):
        return plain
    if count == there:
        return every
    if count == 3 and len(plain) == 1:
        return plain * 3
    remedy = "name them with --bands, such as --bands=3,2,1" if there > count else "use another image"
    raise PictureError(f"it must have {count} bands; {remedy}. Received: {there}.")


def _text(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _decoded(path: Path) -> tuple[np.ndarray, bool]:
    """Pixels `(height, width, bands)`, and whether the last band is transparency."""
    image_module = _package("PIL.Image", path)
    with warnings.catch_warnings(), damage_is_named("decoding it"):
        warnings.simplefilter("ignore", image_module.DecompressionBombWarning)  # large images are what this is for
        limit, image_module.MAX_IMAGE_PIXELS = image_module.MAX_IMAGE_PIXELS, None
        try:
            with image_module.open(path) as image:
                mode = "RGBA" if image.mode == "P" and "transparency" in image.info else _CONVERTED.get(image.mode)
                image = image.convert(mode) if mode else image
                content = np.asarray(image)
                has_alpha = "A" in image.getbands()
        finally:
            image_module.MAX_IMAGE_PIXELS = limit
    if content.dtype == np.int32:  # 16 bits of grey, as older versions of Pillow give them
        content = content.astype(np.uint16)
    return content.reshape(*content.shape[:2], -1), has_alpha


def _is_deep(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(26)
    return start[:8] == _PNG and tuple(start[24:26]) in _DEEP


def _package(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        geo = name == "rasterio"
        raise PictureError(
            f"{'TIFF and PNG of 16 bits need rasterio' if geo else 'images need Pillow'}; run `pip install "
            f"{_GEO if geo else 'pillow'}`. Received: {path.name}, without that package."
        ) from None


def _window(rows: slice, columns: slice) -> Any:
    from rasterio.windows import Window

    return Window.from_slices(rows, columns)
