"""How small a file can be that answers as well: the whole front of size against mIoU, three seeds each.

    python benchmarks/compression.py [--data_dir DIR] [--only SETTING] [--seed SEED] [--table]

A U-Net of four levels (0.49M weights) on the embedded land cover and on aerial images of Dubai, and ones of five levels
(1.95M, or 7.8M with twice the filters) on the latter, trained longer. Each row is one training; all of a setting are
equally long, the dense one too.
Unless a row says otherwise, pruning by Erdos-Renyi-Kernel ends at six tenths of the training. It ends at a half where
the learning rate is half as high. Weights share their values from eight tenths on; scales of normalisations are folded
into them. Rows of 4 bits train their kernels against that rounding from where pruning ends, and
hold the statistics of normalisations from 0.95 of the training on, or from 0.8 (held early).
The size is that of the whole file after `gzip -9`, its graph included; mIoU is that of the file, run on the test split.
Results are appended to benchmarks/results.jsonl, and what stands there is not measured again. A training of
four levels takes some two minutes on two idle cores. One of five levels takes 11 to 35, with three seeds at a time on
one thread each (TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1), which makes them repeatable.
The table goes into docs/compression.md, and docs/images/make_compression.py draws the picture.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.aerial import LANDCOVER, SEEDS, Study, Training, parser_of, run_study, spread
from segopt_callbacks import (
    ClusterScheduleCallback,
    PolynomialDecay,
    PruningScheduleCallback,
    QuantizationAwareTrainingCallback,
    ReestimateBatchNormCallback,
    block,
)
from train_unet.folder import DataFolder
from train_unet.training import prune_steps
from train_unet.unet import UNet

BASE_FILTERS, BATCH_SIZE = 16, 8
FREQUENCY = 10  # steps from one raise of the sparsity to the next
BATCHES = 20  # to refresh statistics from


@dataclass(frozen=True)
class Way:
    """How weights are compressed while they train."""

    sparsity: float = 0.0
    values: int | None = None
    fold: bool = True  # scales of normalisations into the kernels; without, their statistics are refreshed at the end
    neighbours: int = 1  # input channels that are pruned together
    clustered: float = 0.8  # fraction of the training at which weights begin to share values
    bits: int | None = None  # kernels are trained against rounding to so many, from where pruning ends
    held: float = 0.95  # fraction of the training from which statistics are held, where kernels are rounded


DENSE, NOT_FOLDED = "dense", "90% zeros, 8 values, not folded"
SHARED_LATE = "95% zeros in pairs, 16 values from 0.95 on"
HELD_EARLY = "94% zeros in pairs, 4 bits, held early"
LATE_NOT_FOLDED = "95% zeros in pairs, 8 values from 0.9 on, not folded"
ALONE = {  # each weight goes by itself
    "90% zeros, 16 values": Way(0.9, 16),
    "95% zeros, 8 values": Way(0.95, 8),
    "97% zeros, 8 values": Way(0.97, 8),
    "98% zeros, 8 values": Way(0.98, 8),
}
IN_PAIRS = {
    "95% zeros in pairs, 16 values": Way(0.95, 16, neighbours=2),
    "94% zeros in pairs, 8 values": Way(0.94, 8, neighbours=2),
    SHARED_LATE: Way(0.95, 16, neighbours=2, clustered=0.95),
    LATE_NOT_FOLDED: Way(0.95, 8, fold=False, neighbours=2, clustered=0.9),
}
BITS = {
    "94% zeros in pairs, 4 bits": Way(0.94, neighbours=2, bits=4),
    HELD_EARLY: Way(0.94, neighbours=2, bits=4, held=0.8),
    "95% zeros in pairs, 4 bits": Way(0.95, neighbours=2, bits=4),
    "96.5% zeros in pairs, 4 bits": Way(0.965, neighbours=2, bits=4),
    "97.5% zeros in pairs, 4 bits": Way(0.975, neighbours=2, bits=4),
}
WAYS = {DENSE: Way(), **ALONE, NOT_FOLDED: Way(0.9, 8, fold=False), **IN_PAIRS, **BITS}


@dataclass(frozen=True)
class Setting:
    """What is trained on which images for how long, and how it is compressed."""

    epochs: int
    levels: int  # of the U-Net
    ways: tuple[str, ...]
    filters: int = BASE_FILTERS  # of its first level
    learning_rate: float = 3e-3  # the highest; it falls to 0 along a cosine
    hold: float = 0.0  # fraction of the training before it begins to fall
    pruned: tuple[float, float] = (0.1, 0.6)  # fractions of the training at which pruning begins and ends


SETS = {
    "land cover": Setting(24, 4, (DENSE, *ALONE, "96.5% zeros in pairs, 4 bits", "97.5% zeros in pairs, 4 bits")),
    "Dubai": Setting(10, 4, (DENSE, *ALONE, NOT_FOLDED)),
    "Dubai, five levels, 20 epochs": Setting(20, 5, (DENSE, "95% zeros in pairs, 16 values")),
    "Dubai, five levels, 40 epochs": Setting(40, 5, (DENSE, "94% zeros in pairs, 8 values")),
    "Dubai, five levels of twice the filters, 20 epochs": Setting(20, 5, (DENSE, "94% zeros in pairs, 8 values"), 32),
    "Dubai, five levels, 20 epochs, half the learning rate": Setting(
        20,
        5,
        (DENSE, SHARED_LATE, LATE_NOT_FOLDED, "94% zeros in pairs, 4 bits", "95% zeros in pairs, 4 bits"),
        learning_rate=1.5e-3,
        hold=0.6,
        pruned=(0.05, 0.5),
    ),
    "Dubai, five levels of twice the filters, 20 epochs, half the learning rate": Setting(
        20, 5, (DENSE, HELD_EARLY), filters=32, learning_rate=1.5e-3, hold=0.6, pruned=(0.05, 0.5)
    ),
}
FLOAT, FORMATS, OF_BITS = "float32", ("int8", "dynamic_int8"), ("int4",)
TOLERANCE = 0.005  # of mIoU, below the dense float32 file


def measure(folder: DataFolder, one: tuple[str, int]) -> None:
    """Every training of one setting and seed that is not there yet."""
    name, seed = one
    setting = SETS[name]
    for way in setting.ways:
        if (name, way, seed) in STUDY.results():
            continue
        training = Training(
            folder,
            seed,
            make=lambda classes: UNet(classes, setting.filters, levels=setting.levels),
            epochs=setting.epochs,
            batch=BATCH_SIZE,
            learning_rate=setting.learning_rate,
            hold=setting.hold,
        )
        training.run(*callbacks_of(training, WAYS[way], setting))
        STUDY.add((name, way, seed), training.weigh(_formats(way)))


def _formats(way: str) -> tuple[str, ...]:
    """What is exported: the files that a way is meant for."""
    if WAYS[way].bits is not None:
        return OF_BITS
    return (FLOAT, *FORMATS) if way == DENSE else FORMATS


def callbacks_of(training: Training, way: Way, setting: Setting) -> list[Any]:
    callbacks: list[Any] = []
    begin, end = prune_steps(*setting.pruned, training.steps)
    if way.sparsity:
        schedule = PolynomialDecay(0.0, way.sparsity, begin, end, frequency=FREQUENCY)
        pattern = block(way.neighbours, 1) if way.neighbours > 1 else None
        callbacks.append(PruningScheduleCallback(schedule, distribution="erk", pattern=pattern))
    if way.values is not None:
        shared = round(way.clustered * training.steps)
        callbacks.append(ClusterScheduleCallback(way.values, begin_step=shared, fold_batch_norm=way.fold))
    if way.bits is not None:
        callbacks.append(QuantizationAwareTrainingCallback(num_bits=way.bits, begin_step=end, freeze_at=way.held))
    return callbacks if way.fold else [*callbacks, ReestimateBatchNormCallback(training.calibration(BATCHES))]


# --- table and picture -----------------------------------------------------------------------------------------------


File = tuple[str, str]  # way, format


def front(results: Mapping[tuple, dict[str, Any]], name: str) -> dict[File, dict[str, Any]]:
    """What a set came to: file -> mIoU of each seed, and means over the seeds of mIoU and bytes after gzip."""
    found = {}
    for way in WAYS:
        of_seeds = [results[name, way, seed] for seed in SEEDS if (name, way, seed) in results]
        for kind in [kind for kind in (FLOAT, *FORMATS, *OF_BITS) if of_seeds and f"{kind}_gzip" in of_seeds[0]]:
            every = {key: [one[f"{kind}_{key}"] for one in of_seeds] for key in ("miou", "gzip", "entropy")}
            found[way, kind] = {"mious": every["miou"], **{key: float(np.mean(one)) for key, one in every.items()}}
    return found


def best(found: Mapping[File, dict[str, Any]]) -> File:
    """The smallest file whose mIoU is at most `TOLERANCE` below that of the dense float32 file."""
    least = found[DENSE, FLOAT]["miou"] - TOLERANCE
    return min((file for file, one in found.items() if one["miou"] >= least), key=lambda file: found[file]["gzip"])


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """A row for each set, and one for each of its files; the headline's in bold. A way is named in its first row."""
    lines = ["| weights | file | mIoU | gzip bytes | times smaller | bound |", "|---|---|---|---:|---:|---:|"]
    for name in SETS:
        found, named = front(results, name), ""
        lines.append(f"| **{name}** | | | | | |")
        for (way, kind), one in found.items():
            times = f"{found[DENSE, FLOAT]['gzip'] / one['gzip']:.1f}"
            if (way, kind) == best(found):
                times = f"**{times}**"
            shown, named = ("" if way == named else way), way
            cells = [shown, f"`{kind}`", spread(one["mious"]), f"{one['gzip']:,.0f}", times]
            lines.append(f"| {' | '.join(cells)} | {one['entropy']:,.0f} |")
    return "\n".join(lines)


STUDY = Study("compression", "compression.md", "results.md", keys=("set", "row", "seed"), table=table)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--only", choices=SETS, help="one of the settings")
    parser.add_argument("--seed", type=int, choices=SEEDS, help="one of the seeds")
    arguments = parser.parse_args()
    results = STUDY.results()
    missing = [
        (name, seed)
        for name in ([arguments.only] if arguments.only else SETS)
        for seed in (SEEDS if arguments.seed is None else [arguments.seed])
        if any((name, way, seed) not in results for way in SETS[name].ways)
    ]
    return run_study(
        STUDY, missing, measure, arguments, lambda one: LANDCOVER if one[0] == "land cover" else arguments.data_dir
    )


if __name__ == "__main__":
    sys.exit(main())
