"""Speed against accuracy: U-Nets that lose channels while they train, and narrower ones that were trained as long.

    python -m benchmarks.frontier [--data_dir DIR] [--only SET] [--way WAY] [--seed SEED] [--folder DIR] [--time]

The files are int8. A wide U-Net loses whole channels by `channel()`, and its file has them no more:
- of each layer as many, by magnitude;
- of all weights, by saliency;
- for a part of the time, by saliency, in multiples of 8.
Beside it are dense U-Nets of fewer filters, and Lean ones of one width: what somebody would train who may change the
model. All of a set are trained equally long, on the same crops in the same order. mIoU is that of the file, on the test
split.
The files stay in `--folder`. `--time` runs all that are there in turn, each on one thread of one pinned CPU. With them
runs what NNCF and OpenVINO make of the wide dense network. A ratio is taken round by round, to that network's `int8`.
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
FILE = "int8.tflite"
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
    kept = file_of(files, *one).parent
    formats = ("saved_model", "float32", "int8") if named == WIDE else ("float32", "int8")
    STUDY.add(one, training.weigh(formats, kept))


def callbacks_of(training: Training, way: Way) -> list[Any]:
    if not way.sparsity:
        return []
    schedule = PolynomialDecay(0.0, way.sparsity, *prune_steps(0.1, 0.6, training.steps), frequency=20)
    criterion, multiple = ("magnitude" if way.scope == "layer" else "saliency"), (8 if way.scope == "latency" else 1)
    return [
        PruningScheduleCallback(
            schedule,
            pattern=channel(multiple=multiple),
            scope=way.scope,  # type: ignore[arg-type]
            criterion=criterion,  # type: ignore[arg-type]
        )
    ]


def file_of(files: Path, name: str, way: str, seed: int) -> Path:
    return files / re.sub(r"\W+", "_", f"{name} {way} {seed}") / FILE  # OpenVINO reads a comma as two paths


# --- time ------------------------------------------------------------------------------------------------------------


def time_all(files: Path) -> None:
    """Times every file that is there, of each set and seed, in turn, and keeps the ratios."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for name, seed in itertools.product(EPOCHS, SEEDS):
        found = {way: path for way in WAYS if (path := file_of(files, name, way, seed)).exists()}
        if WIDE not in found or all((name, way, seed) in TIMES.results() for way in found):
            continue
        image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)
        runners: dict[str, Callable[[], Any]] = {way: litert(path, image) for way, path in found.items()}
        runners[by_hand.OPENVINO] = openvino(found[WIDE].parent, name, image)
        times = in_turns(runners, ROUNDS)
        for way, one in times.items():
            ratio = {key: round(value, 4) for key, value in interval(one / times[WIDE]).items()}
            TIMES.add((name, way, seed), {"ms": round(float(np.median(one)), 3), "ratio": ratio})


def openvino(folder: Path, name: str, image: np.ndarray) -> Callable[[], Any]:
    """What runs, on one thread, the int8 model that NNCF makes of the SavedModel beside a file, by its defaults."""
    from train_unet.data import load

    images = load(open_folder(SETS[name], size_multiple=8), "train").take(100).as_numpy_iterator()
    path = folder / by_hand.WRITTEN_BY_HAND[by_hand.OPENVINO]
    examples = np.stack([image for image, _ in images])
    by_hand.write_openvino(folder / "saved_model", path, [1, *image.shape[1:]], examples)
    run = by_hand.load_openvino({}, path, None, 1)  # type: ignore[arg-type]
    return lambda: run([image])


# --- table -----------------------------------------------------------------------------------------------------------


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """A row for each way: mIoU and time, means over the seeds; the fastest within the tolerance is bold."""
    times = TIMES.results()
    lines = ["| network | mIoU, `int8` | below dense `float32` | bytes after gzip | time | times as fast |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for name in EPOCHS:
        rows = front(results, times, name)
        if not rows:
            continue
        lines.append(f"| **{name}** | | | | | |")
        fit = [one for one in rows.values() if one["below"] <= TOLERANCE and one["ratio"]]
        fastest = min(fit, key=lambda one: one["ratio"], default=None)
        for way, one in rows.items():
            ratio, speed = ("", "")
            if one["ratio"]:
                ratio, speed = f"{one['ratio']:.3f}", f"{1 / one['ratio']:.1f}"
            speed = f"**{speed}**" if one is fastest else speed
            cells = [way, spread(one["mious"]), f"{one['below']:.3f}", f"{one['gzip']:,.0f}", ratio, speed]
            lines.append(f"| {' | '.join(cells)} |")
        other = [one["ratio"]["median"] for (of, way, _), one in times.items() if (of, way) == (name, by_hand.OPENVINO)]
        if other:
            ratio = float(np.mean(other))
            lines.append(f"| {WIDE}, {by_hand.OPENVINO} | | | | {ratio:.3f} | {1 / ratio:.1f} |")
    return "\n".join(lines)


def front(results: Mapping[tuple, dict[str, Any]], times: Mapping[tuple, dict[str, Any]], name: str) -> dict[str, Any]:
    """What a set came to: way -> mIoU of each seed, and means over the seeds."""
    found = {}
    for way in WAYS:
        seeds = [seed for seed in SEEDS if (name, way, seed) in results and (name, WIDE, seed) in results]
        if not seeds:
            continue
        each = [results[name, way, seed] for seed in seeds]
        dense = [results[name, WIDE, seed]["float32_miou"] for seed in seeds]
        ratios = [times[name, way, seed]["ratio"]["median"] for seed in seeds if (name, way, seed) in times]
        mious = [one["int8_miou"] for one in each]
        found[way] = {
            "mious": mious,
            "below": float(np.mean(dense) - np.mean(mious)),
            "gzip": float(np.mean([one["int8_gzip"] for one in each])),
            "ratio": float(np.mean(ratios)) if ratios else None,
        }
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
