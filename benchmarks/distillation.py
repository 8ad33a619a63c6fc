"""What a dense teacher is worth to a network that is compressed: three seeds, equal training time.

    python benchmarks/distillation.py [--seed SEED] [--table]

The U-Net of four levels (0.49M weights) on the embedded land cover, as in benchmarks/compression.py: 96.5% zeros in
pairs, kernels trained against 4 bits, statistics held from 0.8 of the training on. For each seed a dense network is
trained, which teaches; then a student from the same first weights, with its answers and without. The student without a
teacher trains for as many more epochs as the teacher's answers cost the other: the ratio of both step times is measured
first, in turns. The teacher's own training is counted for nobody.
Temperature and weight are chosen on the validation split of the first seed. mIoU is that of the model in memory.
Results are appended to benchmarks/results.jsonl, and what stands there is not measured again. The table
goes into docs/distillation.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.aerial import LANDCOVER, SEEDS, Study, Training, parser_of, run_study, spread
from benchmarks.compression import BASE_FILTERS, BATCH_SIZE, SETS, Way, callbacks_of
from segopt_callbacks import (
    DistillationCallback,
    PruningScheduleCallback,
    QuantizationAwareTrainingCallback,
    block,
)
from segopt_callbacks.compat import keras
from train_unet.folder import DataFolder
from train_unet.unet import UNet

SETTING = SETS["land cover"]
WAY = Way(0.965, neighbours=2, bits=4, held=0.8)
DENSE, PLAIN, RATIO = "dense, the teacher", "compressed, no teacher", "step time"
SETTINGS = {"T = 2, weight 0.5": (2.0, 0.5), "T = 4, weight 0.9": (4.0, 0.9)}
TURNS, FEW = 4, 2  # fits of each kind in turns, and their epochs; the first step of each is not counted


class StepTimes(keras.callbacks.Callback):
    """Seconds of each step but the first ones, in which functions are traced."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._start)


def training_of(folder: DataFolder, seed: int, epochs: int) -> Training:
    return Training(
        folder,
        seed,
        make=lambda classes: UNet(classes, BASE_FILTERS, levels=SETTING.levels),
        epochs=epochs,
        batch=BATCH_SIZE,
        learning_rate=SETTING.learning_rate,
    )


def measure_ratio(folder: DataFolder) -> dict[str, Any]:
    """The time of a compressed step with a teacher, over that of one without: medians, in turns."""
    teacher = training_of(folder, 0, FEW).model
    found: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * TURNS):
        has_teacher = turn % 2 == 0
        training = training_of(folder, 0, FEW)
        times = StepTimes()
        teachers = [DistillationCallback(teacher)] if has_teacher else []
        # Pruned and rounded from the first step on, so that every step is alike.
        pruning = PruningScheduleCallback(WAY.sparsity, distribution="erk", pattern=block(WAY.neighbours, 1))
        rounding = QuantizationAwareTrainingCallback(num_bits=WAY.bits, freeze_at=1.0)
        training.run(pruning, rounding, *teachers, times)
        found[has_teacher].append(float(np.median(times.seconds[training.steps // 2 :])))
    with_it, without = (float(np.median(found[one])) for one in (True, False))
    return {"ratio": round(with_it / without, 3), "ms": round(with_it * 1e3, 1), "ms_without": round(without * 1e3, 1)}


def measure(folder: DataFolder, seed: int) -> None:
    """Every training of one seed that is not there yet."""
    results = STUDY.results()
    if (RATIO, 0) not in results:
        STUDY.add((RATIO, 0), measure_ratio(folder))
    ratio = STUDY.results()[RATIO, 0]["ratio"]
    wanted = wanted_of(seed, results)
    taught = [name for name in wanted if name in SETTINGS]
    if (DENSE, seed) not in results or taught:
        teacher = training_of(folder, seed, SETTING.epochs)
        _run(DENSE, seed, teacher, [])
    for name in taught:
        training = training_of(folder, seed, SETTING.epochs)
        temperature, weight = SETTINGS[name]
        distillation = DistillationCallback(teacher.model, temperature=temperature, weight=weight)
        _run(name, seed, training, [*callbacks_of(training, WAY, SETTING), distillation])
    if PLAIN in wanted:
        training = training_of(folder, seed, round(ratio * SETTING.epochs))
        _run(PLAIN, seed, training, callbacks_of(training, WAY, SETTING))


def _run(name: str, seed: int, training: Training, callbacks: list[Any]) -> None:
    start = time.perf_counter()
    training.run(*callbacks)
    seconds = round(time.perf_counter() - start)
    if (name, seed) in STUDY.results():
        return
    val = training.model.evaluate(training.data["val"], verbose=0, return_dict=True)["mIoU"]
    figures = {"epochs": training.epochs, "val_miou": round(float(val), 4), "miou": round(training.score(), 4)}
    STUDY.add((name, seed), {**figures, "seconds": seconds})


def wanted_of(seed: int, results: Mapping[tuple, dict[str, Any]]) -> list[str]:
    """What is not there yet: of the settings all for the first seed, the chosen one for the others."""
    settings = list(SETTINGS) if seed == SEEDS[0] else [chosen(results)]
    return [name for name in (DENSE, *settings, PLAIN) if (name, seed) not in results]


def chosen(results: Mapping[tuple, dict[str, Any]]) -> str:
    """The setting with the best validation mIoU of the first seed."""
    found = {name: results[name, SEEDS[0]]["val_miou"] for name in SETTINGS if (name, SEEDS[0]) in results}
    return max(found, key=lambda name: found[name]) if found else next(iter(SETTINGS))


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """A row for each way, and the differences seed by seed."""
    lines = ["| | epochs | validation mIoU | test mIoU |", "|---|---:|---|---|"]
    for name in (DENSE, PLAIN, *SETTINGS):
        of_seeds = [results[name, seed] for seed in SEEDS if (name, seed) in results]
        if of_seeds:
            shown = name if name in (DENSE, PLAIN) else f"compressed, teacher, {name}"
            val, test = (spread([one[key] for one in of_seeds]) for key in ("val_miou", "miou"))
            lines.append(f"| {shown} | {of_seeds[0]['epochs']} | {val} | {test} |")
    best = chosen(results)
    pairs = [
        (results[best, seed], results[PLAIN, seed]) for seed in SEEDS if {(best, seed), (PLAIN, seed)} <= {*results}
    ]
    if pairs:
        told = (", ".join(f"{one[key] - other[key]:+.3f}" for one, other in pairs) for key in ("val_miou", "miou"))
        lines.append(f"| difference by the teacher, {best}, seed by seed | | {' | '.join(told)} |")
    if (RATIO, 0) in results:
        one = results[RATIO, 0]
        lines.append(f"\nA step takes {one['ratio']:.2f} times as long with a teacher as without.")
    return "\n".join(lines)


STUDY = Study("distillation", "distillation.md", "results.md", keys=("row", "seed"), table=table)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--seed", type=int, choices=SEEDS, help="one of the seeds")
    arguments = parser.parse_args()
    seeds = SEEDS if arguments.seed is None else (arguments.seed,)
    missing = [seed for seed in seeds if wanted_of(seed, STUDY.results())]
    return run_study(STUDY, missing, measure, arguments, lambda _: LANDCOVER)


if __name__ == "__main__":
    sys.exit(main())
