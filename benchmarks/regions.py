"""What compression costs on other regions than the test split: parts of the training images, left out of training.

    python benchmarks/regions.py [--only WAY] [--region NUMBER] [--table]

The training columns of land cover are cut three times: some columns, spread over the continents, are judged by, and the
others are trained on. Tiles that reach into both are left out, and tiles that are judged by do not overlap. The test
split has no part in it. Each run is the program itself; mIoU is that of its model in memory, on the region.
Results are appended to benchmarks/results.jsonl, and what stands there is not measured again. A run takes 2 to 3
minutes on two idle cores. The table goes into docs/results.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.aerial import LANDCOVER, ROOT, Study

TILE = 128  # pixels; columns are as wide
REGIONS = ({6, 7, 12, 24, 35, 36}, {10, 11, 20, 21, 26, 37, 38}, {4, 5, 13, 25, 30, 31})
PLAIN = "plain training"
WAYS = (PLAIN, "--prune", "--prune --cluster", "--goal=balanced")


def write_region(folder: Path, columns: set[int]) -> None:
    """The embedded images, with these columns of their training split in place of the test split."""
    for name in ("images", "masks", "classes.json"):
        (folder / name).symlink_to(LANDCOVER / name)
    with (LANDCOVER / "split.csv").open(newline="") as given, (folder / "split.csv").open("w", newline="") as made:
        writer = csv.writer(made)
        writer.writerow(["name", "split"])
        for row in csv.DictReader(given):
            if split := split_of(row["name"], row["split"], columns):
                writer.writerow([row["name"], split])


def split_of(name: str, split: str, columns: set[int]) -> str | None:
    """The split of a tile by its name, which is its place in pixels; `None` leaves it out."""
    top, left = int(name[1:5]), int(name[7:])
    if split != "train":
        return split if split == "val" else None
    judged = {left // TILE in columns, (left + TILE - 1) // TILE in columns}
    if judged == {False}:
        return "train"
    return "test" if judged == {True} and not (left % TILE or top % TILE) else None


def measure(way: str, region: int) -> dict[str, Any]:
    """Runs the program once."""
    with tempfile.TemporaryDirectory() as directory:
        data, run = Path(directory) / "data", Path(directory) / "run"
        data.mkdir()
        write_region(data, REGIONS[region])
        flags = [] if way == PLAIN else way.split()
        flags += [f"--data_dir={data}", "--export_formats=", f"--seed={region}", f"--output_dir={run}"]
        command, environment = [sys.executable, "train.py", *flags], {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        subprocess.run(command, cwd=ROOT / "train_unet", check=True, env=environment)
        return {"miou": round(json.loads((run / "run.json").read_text())["in_memory"], 4)}


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """A row for each way: the regions, and their mean."""
    lines = ["| made by | three regions | mean mIoU |", "|---|---|---:|"]
    for way in WAYS:
        mious = [one["miou"] for (name, _), one in sorted(results.items()) if name == way]
        if len(mious) == len(REGIONS):
            told = way if way == PLAIN else f"`{way}`"
            lines.append(f"| {told} | {', '.join(f'{one:.3f}' for one in mious)} | {np.mean(mious):.3f} |")
    return "\n".join(lines)


STUDY = Study("regions", "results.md", keys=("way", "region"), table=table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=WAYS, help="one of the ways")
    parser.add_argument("--region", type=int, choices=range(len(REGIONS)), help="one of the regions")
    parser.add_argument("--table", action="store_true", help="train nothing, write the table of what there is")
    arguments = parser.parse_args()
    for way in [] if arguments.table else ([arguments.only] if arguments.only else WAYS):
        for region in range(len(REGIONS)) if arguments.region is None else [arguments.region]:
            if (way, region) not in STUDY.results():
                STUDY.add((way, region), measure(way, region))
    print(STUDY.write())
    return 0


if __name__ == "__main__":
    sys.exit(main())
