"""Masks of class ids: PNG with a palette, GeoTIFF where its image lies on a map; complete files, or none."""

from __future__ import annotations

import contextlib
import os
import uuid
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import damage_is_named

NO_DATA = 255  # what a GeoTIFF has where its image has no value
HIGHEST = 256  # classes that a byte tells apart, and a palette has colours for


def write_mask(path: Path, ids: np.ndarray, palette: Sequence[Sequence[int]], dataset: Any = None) -> None:
    """Writes a mask: a GeoTIFF with the georeference of its image's `dataset`, else a PNG.

    Args:
        path: of the file, in an existing folder; an earlier one is replaced.
        ids: `(height, width)` uint8; `NO_DATA` in a GeoTIFF for pixels without a value.
        palette: `(red, green, blue)` of each class, 0 to 255.
        dataset: what rasterio has opened for the image.
    """
    with _whole(path) as unfinished:
        if dataset is None:
            _write_png(unfinished, ids, palette)
        else:
            _write_geotiff(unfinished, ids, palette, dataset)


def _write_png(path: Path, ids: np.ndarray, palette: Sequence[Sequence[int]]) -> None:
    from PIL import Image

    image = Image.fromarray(ids)
    image.putpalette([part for colour in palette for part in colour])  # which makes class ids of grey values
    image.save(path, format="PNG")


def _write_geotiff(path: Path, ids: np.ndarray, palette: Sequence[Sequence[int]], dataset: Any) -> None:
    import rasterio

    points, reference = dataset.gcps
    height, width = ids.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": height, "width": width, "nodata": NO_DATA}
    profile |= {"compress": "deflate", "BIGTIFF": "IF_SAFER"}
    profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256} if min(ids.shape) >= 256 else {}
    if not points:
        profile |= {"crs": dataset.crs, "transform": dataset.transform}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with damage_is_named("writing its GeoTIFF"), rasterio.open(path, "w", **profile) as made:
            if points:
                made.gcps = points, reference
            made.write(ids, 1)
            made.write_colormap(1, {index: (*colour, 255) for index, colour in enumerate(palette)})


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name to write to; it takes the file's name at the end of the body, and goes away after an error."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.unfinished{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
