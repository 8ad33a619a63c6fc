"""mIoU and size of a small U-Net on aerial images of Dubai, clustered in many ways, three seeds each.

    python benchmarks/clustering_accuracy.py [--data_dir DIR]

All trainings take equally long, those with fine-tuning too: it happens within. What is clustered in one shot starts at
the float model of its seed. Results are appended to benchmarks/results.jsonl, and what stands there
is not measured again. Each of the 21 trainings takes about a minute on two idle cores, each file ten seconds. The table
goes into docs/clustering.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.aerial import SEEDS, Study, Training, parser_of, run_study, spread
from segopt_callbacks import (
    ClusterScheduleCallback,
    PolynomialDecay,
    PruningScheduleCallback,
    ReestimateBatchNormCallback,
    cluster_model,
    reestimate_batch_norm,
)
from train_unet.folder import DataFolder
from train_unet.training import prune_steps

CLUSTERS = (32, 16, 8, 4)
PRUNE_BEGIN, PRUNE_END, CLUSTER_BEGIN = 0.1, 0.6, 0.85  # fractions of the training
SPARSITY, FREQUENCY = 0.8, 5
FORMATS = ("float32", "int8")
BATCHES = 20  # to estimate statistics from
FLOAT, FOLDED, PRUNED = "float", "16 fine-tuned with folding", "pruned 80% (ERK), 16 fine-tuned"
ONE_SHOT: dict[str, dict[str, Any]] = {
    "{} in one shot": {},
    "{} without folding": {"fold_batch_norm": False},
    "{} without folding, statistics anew": {"fold_batch_norm": False},
    "{} in each channel": {"per_channel": True},
}


def rows() -> Iterator[str]:
    yield FLOAT
    for number in CLUSTERS:
        yield from (one.format(number) for one in ONE_SHOT)
        yield f"{number} fine-tuned"
    yield from (FOLDED, PRUNED)


def measure(folder: DataFolder, seed: int) -> None:
    """Everything of one seed that is not there yet."""
    missing = [row for row in rows() if (row, seed) not in STUDY.results()]
    training = Training(folder, seed)
    training.run()
    weights = training.model.get_weights()
    for row in [one for one in missing if "fine-tuned" not in one]:
        training.model.set_weights(weights)
        _cluster(training, row)
        STUDY.add((row, seed), training.weigh(FORMATS))
    for row in [one for one in missing if "fine-tuned" in one]:
        training = Training(folder, seed)
        training.run(*_callbacks(training, row))
        STUDY.add((row, seed), training.weigh(FORMATS))


def _cluster(training: Training, row: str) -> None:
    for number in CLUSTERS:
        for name, settings in ONE_SHOT.items():
            if row == name.format(number):
                cluster_model(training.model, number, **settings)
                if "anew" in name:
                    reestimate_batch_norm(training.model, training.calibration(BATCHES))


def _callbacks(training: Training, row: str) -> list[Any]:
    number = 16 if row == PRUNED else int(row.split()[0])
    begin = round(CLUSTER_BEGIN * training.steps)
    chosen: list[Any] = [ClusterScheduleCallback(number, begin_step=begin, fold_batch_norm=row == FOLDED)]
    if row != FOLDED:
        chosen.append(ReestimateBatchNormCallback(training.calibration(BATCHES)))
    if row == PRUNED:
        steps = prune_steps(PRUNE_BEGIN, PRUNE_END, training.steps)
        schedule = PolynomialDecay(0.0, SPARSITY, *steps, frequency=FREQUENCY)
        chosen.append(PruningScheduleCallback(schedule, distribution="erk"))
    return chosen


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """A row for each way: mean (lowest to highest) over the seeds of mIoU, mean sizes."""

    def over_seeds(row: str, key: str) -> list[Any]:
        return [results[row, seed][key] for seed in SEEDS if (row, seed) in results]

    def mean(row: str, key: str) -> str:
        values = over_seeds(row, key)
        return f"{sum(values) / len(values):,.0f}" if values else ""

    columns: dict[str, Callable[[str], str]] = {
        "values": lambda row: row,
        "mIoU": lambda row: spread(over_seeds(row, "miou")),
        "int8 mIoU": lambda row: spread(over_seeds(row, "int8_miou")),
        "float32 gzip": lambda row: mean(row, "float32_gzip"),
        "int8 gzip": lambda row: mean(row, "int8_gzip"),
        "int8 bound": lambda row: mean(row, "int8_entropy"),
        "distinct in float32": lambda row: str(max(over_seeds(row, "float32_distinct"), default="")),
        "in int8": lambda row: str(max(over_seeds(row, "int8_distinct"), default="")),
    }
    lines = [f"| {' | '.join(columns)} |", "|---|" + "---|" * (len(columns) - 1)]
    lines += [f"| {' | '.join(cell(row) for cell in columns.values())} |" for row in rows()]
    return "\n".join(lines)


STUDY = Study("clustering_accuracy", "clustering.md", "results.md", keys=("row", "seed"), table=table)


def main() -> int:
    arguments = parser_of(__doc__).parse_args()
    results = STUDY.results()
    seeds = [seed for seed in SEEDS if any((row, seed) not in results for row in rows())]
    return run_study(STUDY, seeds, measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
