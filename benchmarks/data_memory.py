"""Resident memory of the input of training, over 100,000 generated images.

    python benchmarks/data_memory.py [--images=100000] [--tile=128]

It writes a data folder, checks it, and reads one epoch of its training images as `train.py` does: decoded, turned,
relit, batched. Images are more than `CACHED_BYTES` when decoded, so none is kept. Of 1,000 images each has many names.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from train_unet.data import CACHED_BYTES, datasets
from train_unet.folder import open_folder

DISTINCT, LINES = 1000, 10
MEGABYTE = 1e6


def resident() -> float:
    """Megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def write(root: Path, count: int, size: tuple[int, int]) -> None:
    """A data folder of `count` training images, the least of others, and three classes."""
    random, rows = np.random.default_rng(0), [("name", "split")]
    for part in ("images", "masks"):
        (root / part).mkdir()
    for number in range(count + 2):
        name = f"p{number}"
        for part, suffix in (("images", "jpg"), ("masks", "png")):
            path = root / part / f"{name}.{suffix}"
            if number >= DISTINCT:
                os.link(root / part / f"p{number % DISTINCT}.{suffix}", path)
            elif part == "images":
                coarse = random.integers(0, 256, (8, 8, 3)).astype("uint8")
                Image.fromarray(coarse).resize(size[::-1]).save(path)
            else:
                Image.fromarray(random.integers(0, 3, (8, 8)).astype("uint8")).resize(size[::-1], 0).save(path)
        rows.append((name, "train" if number < count else ("val", "test")[number - count]))
    with (root / "split.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    (root / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--tile", type=int, help="images are twice as high and wide then, and cut")
    arguments = parser.parse_args()
    side = 128 if arguments.tile is None else 2 * arguments.tile
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        write(Path(folder), arguments.images, (side, side))
        print(f"written in {time.monotonic() - start:.0f} s; resident {resident():.0f} MB")
        start = time.monotonic()
        found = open_folder(folder, tile=arguments.tile)
        print(f"checked in {time.monotonic() - start:.0f} s; resident {resident():.0f} MB")
        total = found.decoded_bytes("train")
        print(f"{total / MEGABYTE:.0f} MB decoded, of which {'all' if total <= CACHED_BYTES else 'none'} is kept")
        train = datasets(found, batch_size=8)["train"]
        start, every = time.monotonic(), max(len(train) // LINES, 1)
        print("   images  seconds  resident MB")
        for step, (images, _) in enumerate(train, 1):
            if step % every == 0 or step == 1:
                print(f"{step * len(images):9,} {time.monotonic() - start:8.0f} {resident():12.0f}", flush=True)


if __name__ == "__main__":
    main()
