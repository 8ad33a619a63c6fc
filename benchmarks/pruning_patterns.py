"""mIoU of a small U-Net on aerial images of Dubai, for every pruning pattern and sparsity, three seeds each.

    python benchmarks/pruning_patterns.py [--data_dir DIR] [--patterns NAME ...]

All trainings take equally long, the dense one too, from the same weights and in the same order of images for each seed.
Every result is appended to benchmarks/results.jsonl at once; what stands there is not trained again,
so an interrupted run continues; delete the file to start over. Each of the 63 trainings takes about a minute on two
idle cores. The table goes into docs/patterns.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

import segopt_callbacks
from benchmarks.aerial import FILTERS, SEEDS, Study, Training, parser_of, run_study, spread
from segopt_callbacks import PolynomialDecay, PruningScheduleCallback, compat
from segopt_callbacks.model.weights import select_weights
from train_unet.folder import DataFolder
from train_unet.training import prune_steps

FREQUENCY = 5
PRUNE_BEGIN, PRUNE_END = 0.1, 0.6  # fractions of the training
SPARSITIES = (0.5, 0.8, 0.9, 0.95)
PATTERNS = {
    "unstructured": dict,
    "unstructured, ERK": lambda: {"distribution": "erk"},
    "block(1, 4)": lambda: {"pattern": segopt_callbacks.block(1, 4)},
    "n_of_m(2, 4)": lambda: {"pattern": segopt_callbacks.n_of_m(2, 4)},
    "channel()": lambda: {"pattern": segopt_callbacks.channel()},
}
Key = tuple[str, float, int]  # pattern, sparsity, seed


def wanted(patterns: list[str]) -> list[Key]:
    """Every training, by seed: a table of one seed is complete first; the extra row of ERK comes last."""
    pruned = [(pattern, sparsity) for pattern in patterns for sparsity in SPARSITIES]
    every = [(*row, seed) for seed in SEEDS for row in [("dense", 0.0), *pruned]]
    return sorted(every, key=lambda key: "ERK" in key[0])


def measure(folder: DataFolder, key: Key) -> None:
    """One training -> mIoU on the test split, and the fraction of zeros in the selected kernels."""
    pattern, sparsity, seed = key
    start = time.perf_counter()
    training = Training(folder, seed)
    callbacks = []
    if sparsity:
        begin, end = prune_steps(PRUNE_BEGIN, PRUNE_END, training.steps)
        schedule = PolynomialDecay(0.0, sparsity, begin, end, frequency=FREQUENCY)
        callbacks.append(PruningScheduleCallback(schedule, FILTERS, **PATTERNS[pattern]()))
    training.run(*callbacks)
    kernels = [compat.read(kernel) for kernel in select_weights(training.model, FILTERS).values()]
    zeros = sum(np.count_nonzero(kernel == 0) for kernel in kernels) / sum(kernel.size for kernel in kernels)
    result = {"miou": round(training.score(), 4), "zeros": round(float(zeros), 4)}
    STUDY.add(key, {**result, "seconds": round(time.perf_counter() - start, 1)})


def table(results: Mapping[Key, dict[str, Any]]) -> str:
    """Mean (lowest to highest) over the seeds; a cell says where the zeros are not what was asked for."""

    def cell(pattern: str, sparsity: float) -> str:
        runs = [results[key] for seed in SEEDS if (key := (pattern, sparsity, seed)) in results]
        text = spread(run["miou"] for run in runs)
        zeros = float(np.mean([run["zeros"] for run in runs])) if runs else sparsity
        return text if abs(zeros - sparsity) < 0.005 else f"{text}, {zeros:.3f} zeros"

    rows = [
        "| pattern | 0 (dense) | " + " | ".join(str(sparsity) for sparsity in SPARSITIES) + " |",
        "|---|" + "---|" * (1 + len(SPARSITIES)),
    ]
    for pattern in PATTERNS:
        cells = [cell("dense", 0.0), *(cell(pattern, sparsity) for sparsity in SPARSITIES)]
        rows.append(f"| `{pattern}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


STUDY = Study("pruning_patterns", "patterns.md", "results.md", keys=("pattern", "sparsity", "seed"), table=table)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--patterns", nargs="+", default=list(PATTERNS), choices=list(PATTERNS), metavar="NAME")
    arguments = parser.parse_args()
    results = STUDY.results()
    return run_study(STUDY, [key for key in wanted(arguments.patterns) if key not in results], measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
