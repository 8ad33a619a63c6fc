"""Speed against accuracy: U-Nets that lose channels while they train, and narrower ones that were trained as long.

    python -m benchmarks.frontier [--data_dir DIR] [--only SET] [--way WAY] [--seed SEED] [--folder DIR] [--time]

A wide U-Net loses whole channels, and its files have them no more; what stays in a layer is a multiple of 8:
- of each layer as many, by magnitude;
- of all weights, by saliency;
- for a part of the time, by saliency.
Beside it are dense U-Nets of fewer filters, and Lean ones of one width: what somebody would train who may change the
model. All of a set are trained equally long, on the same crops in the same order. Each is exported as `int8` (LiteRT)
and `openvino_int8`. mIoU is that of the file, on the test split.
The files stay in `--folder`. `--time` runs all that are there in turn, each on one thread of one pinned CPU. With them
runs what NNCF and OpenVINO make of the wide dense network by hand. A ratio is taken round by round, to the `int8` of
the wide dense network.
Results are appended to benchmarks/results.jsonl, and what stands there is not measured again. A training takes 1 to 8
minutes on two idle cores. The tables go into docs/channels.md, and docs/images/make_frontier.py draws the picture.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import itertools
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import export_by_hand as by_hand
from benchmarks.aerial import DUBAI, LANDCOVER, ROOT, SEEDS, Study, Training, parser_of, run_study, spread
from benchmarks.speed import in_turns, litert
from segopt_callbacks import PolynomialDecay, PruningScheduleCallback, channel
from segopt_callbacks.export.checks.latency_figures import interval
from train_unet.folder import DataFolder, open_folder
from train_unet.training import prune_steps
from train_unet.unet import UNet

BATCH_SIZE, SIZE = 8, 128  # pixels
EPOCHS = {"land cover": 24, "Dubai": 10}
SETS = {"land cover": LANDCOVER, "Dubai": DUBAI}
WIDE = "32 filters"
TIMED = {"int8": "int8.tflite", "openvino_int8": "openvino_int8/model.xml"}  # format -> what is opened
FORMATS = ("saved_model", "float32", *TIMED)
ROUNDS = 60
TOLERANCE = 0.005  # of mIoU, below the wide dense network in float32


@dataclass(frozen=True)
class Way:
    """A U-Net, and how many of its channels go while it trains."""

    filters: int
    growth: int = 2  # 1: a Lean U-Net
    sparsity: float = 0.0
    scope: str = "layer"  # others judge by saliency


WAYS = {
    WIDE: Way(32),
    **{f"{WIDE}, {share:.0%} of the time": Way(32, sparsity=share, scope="latency") for share in (0.3, 0.4)},
    **{f"{WIDE}, {share:.0%} of each layer": Way(32, sparsity=share) for share in (0.5, 0.7)},
    **{f"{filters} filters": Way(filters) for filters in (24, 16, 12, 8)},
    **{f"Lean, {filters} filters": Way(filters, growth=1) for filters in (32, 16)},
    **{f"{WIDE}, {share:.0%} of all weights": Way(32, sparsity=share, scope="global") for share in (0.5, 0.7)},
}


def measure(folder: DataFolder, one: tuple[str, str, int], files: Path) -> None:
    """One training, and its files."""
    name, named, seed = one
    way = WAYS[named]

    def make(classes: int) -> Any:
        return UNet(classes, way.filters, growth=way.growth)

    training = Training(folder, seed, make=make, epochs=EPOCHS[name], batch=BATCH_SIZE)
    training.run(*callbacks_of(training, way))
    STUDY.add(one, training.weigh(FORMATS, folder_of(files, *one)))


def callbacks_of(training: Training, way: Way) -> list[Any]:
    if not way.sparsity:
        return []
    schedule = PolynomialDecay(0.0, way.sparsity, *prune_steps(0.1, 0.6, training.steps), frequency=20)
    criterion = "magnitude" if way.scope == "layer" else "saliency"
    return [
        PruningScheduleCallback(
            schedule,
            pattern=channel(multiple=8),
            scope=way.scope,  # type: ignore[arg-type]
            criterion=criterion,  # type: ignore[arg-type]
        )
    ]


def folder_of(files: Path, name: str, way: str, seed: int) -> Path:
    return files / re.sub(r"\W+", "_", f"{name} {way} {seed}")  # OpenVINO reads a comma as two paths


# --- time ------------------------------------------------------------------------------------------------------------


def time_all(files: Path) -> None:
    """Times every file that is there, of each set and seed, in turn, and keeps the ratios."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for name, seed in itertools.product(EPOCHS, SEEDS):
        folders = {way: folder for way in WAYS if (folder := folder_of(files, name, way, seed)).exists()}
        if WIDE not in folders or all((name, way, seed) in TIMES.results() for way in folders):
            continue
        image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)
        paths = {(way, kind): folder / path for way, folder in folders.items() for kind, path in TIMED.items()}
        runners = {one: opened(one[1], path, image) for one, path in paths.items() if path.exists()}
        runners[by_hand.OPENVINO, "openvino_int8"] = openvino_by_hand(folders[WIDE], name, image)
        times = in_turns(runners, ROUNDS)
        for way in dict.fromkeys(way for way, _ in times):
            TIMES.add((name, way, seed), {kind: figures(times, way, kind) for one, kind in times if one == way})


def figures(times: Mapping[tuple[str, str], np.ndarray], way: str, kind: str) -> dict[str, Any]:
    """Milliseconds of a file, and its ratio to the `int8` of the wide dense network, round by round."""
    one = times[way, kind]
    ratio = {key: round(value, 4) for key, value in interval(one / times[WIDE, "int8"]).items()}
    return {"ms": round(float(np.median(one)), 3), "ratio": ratio}


def opened(kind: str, path: Path, image: np.ndarray) -> Callable[[], Any]:
    """What runs a file on one image, on one thread."""
    if kind == "int8":
        return litert(path, image)
    run = by_hand.load_openvino({}, path, None, 1)  # type: ignore[arg-type]
    return lambda: run([image])


def openvino_by_hand(folder: Path, name: str, image: np.ndarray) -> Callable[[], Any]:
    """What runs the model that NNCF makes of the SavedModel in a folder, by its defaults."""
    from train_unet.data import load

    images = load(open_folder(SETS[name], size_multiple=8), "train").take(100).as_numpy_iterator()
    path = folder / "by_hand" / "model.xml"
    examples = np.stack([image for image, _ in images])
    by_hand.write_openvino(folder / "saved_model", path, [1, *image.shape[1:]], examples)
    return opened("openvino_int8", path, image)


# --- table -----------------------------------------------------------------------------------------------------------


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """A row for each way: mIoU and times, means over the seeds; the fastest file within the tolerance is bold."""
    times = TIMES.results()
    lines = [f"| network | bytes after gzip | {' | '.join(f'`{kind}`: mIoU | below dense | time' for kind in TIMED)} |"]
    lines.append("|---|---:|---|---:|---:|---|---:|---:|")
    for name in EPOCHS:
        rows = front(results, times, name)
        if not rows:
            continue
        lines.append(f"| **{name}** | | | | | | | |")
        fits = [one.ratio for row in rows.values() for one in row.files.values() if one.ratio and one.is_good]
        for way, row in rows.items():
            cells = [cell for kind in TIMED for cell in cells_of(row.files.get(kind), min(fits, default=0))]
            lines.append(f"| {' | '.join([way, f'{row.gzip:,.0f}', *cells])} |")
        others = [one["openvino_int8"] for (of, way, _), one in times.items() if (of, way) == (name, by_hand.OPENVINO)]
        if others:
            mean = np.mean([one["ratio"]["median"] for one in others])
            lines.append(f"| {WIDE}, {by_hand.OPENVINO} | | | | | | | {mean:.2f} |")
    return "\n".join(lines)


def cells_of(file: File | None, best: float) -> list[str]:
    """mIoU, loss and time of a file; bold where no other is as fast and as good."""
    if file is None:
        return ["", "", ""]
    ratio = "" if file.ratio is None else f"{file.ratio:.2f}"
    is_best = file.is_good and file.ratio == best
    return [spread(file.mious), f"{file.below:.3f}", f"**{ratio}**" if is_best else ratio]


@dataclass(frozen=True)
class File:
    """One format of a network: mIoU of each seed; means of what it loses, and of its time."""

    mious: list[float]
    below: float
    ratio: float | None

    @property
    def is_good(self) -> bool:
        """Whether it is, in the mean, within the tolerance of the wide dense network in float32."""
        return self.below <= TOLERANCE


@dataclass(frozen=True)
class Row:
    """A network: what its files came to, by format."""

    gzip: float
    files: dict[str, File]


def front(results: Mapping[tuple, dict[str, Any]], times: Mapping[tuple, dict[str, Any]], name: str) -> dict[str, Row]:
    """What the networks of a set came to, way by way."""
    found = {}
    for way in WAYS:
        seeds = [seed for seed in SEEDS if (name, way, seed) in results and (name, WIDE, seed) in results]
        if not seeds:
            continue
        each = [results[name, way, seed] for seed in seeds]
        dense = float(np.mean([results[name, WIDE, seed]["float32_miou"] for seed in seeds]))
        timed = [times[name, way, seed] for seed in seeds if (name, way, seed) in times]
        files = {}
        for kind in TIMED:
            mious = [one[f"{kind}_miou"] for one in each if f"{kind}_miou" in one]
            ratios = [one[kind]["ratio"]["median"] for one in timed if kind in one]
            if len(mious) == len(seeds):
                files[kind] = File(mious, dense - float(np.mean(mious)), float(np.mean(ratios)) if ratios else None)
        found[way] = Row(float(np.mean([one["int8_gzip"] for one in each])), files)
    return found


KEYS = ("set", "way", "seed")
STUDY = Study("frontier", "channels.md", "results.md", keys=KEYS, table=table)
TIMES = Study("frontier_times", keys=KEYS, table=lambda results: "")


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--only", choices=EPOCHS, help="one of the sets")
    parser.add_argument("--way", choices=WAYS, help="one of the networks")
    parser.add_argument("--seed", type=int, choices=SEEDS, help="one of the seeds")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "frontier", help="where files stay")
    parser.add_argument("--time", action="store_true", help="train nothing, time the files that are there")
    arguments = parser.parse_args()
    SETS["Dubai"] = arguments.data_dir
    if arguments.time:
        time_all(arguments.folder)
    wanted = itertools.product(
        [arguments.only] if arguments.only else EPOCHS,
        [arguments.way] if arguments.way else WAYS,
        SEEDS if arguments.seed is None else [arguments.seed],
    )
    missing = [] if arguments.time else [one for one in wanted if one not in STUDY.results()]

    def train(folder: DataFolder, one: tuple[str, str, int]) -> None:
        measure(folder, one, arguments.folder)

    return run_study(STUDY, missing, train, arguments, lambda one: SETS[one[0]])


if __name__ == "__main__":
    sys.exit(main())
