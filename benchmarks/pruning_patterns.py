"""mIoU of a small U-Net on aerial images of Dubai, for every pruning pattern and sparsity, three seeds each.

    python benchmarks/pruning_patterns.py [--data_dir DIR] [--patterns NAME ...]

All trainings take equally long, the dense one too, from the same weights and in the same order of images for each seed.
Every result is appended to benchmarks/results/pruning_patterns.jsonl at once; what stands there is not trained again,
so an interrupted run continues; delete the file to start over. Each of the 63 trainings takes about a minute on two
idle cores. The table goes into docs/patterns.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

import segopt_callbacks
from segopt_callbacks import PolynomialDecay, PruningScheduleCallback, compat
from segopt_callbacks.compat import keras
from segopt_callbacks.weights import select_weights
from train_unet.data import datasets
from train_unet.folder import DataFolder, DataFolderError, open_folder
from train_unet.training import compile_model, prune_steps
from train_unet.unet import UNet

ROOT = Path(__file__).resolve().parent.parent
DUBAI = ROOT.parent / "shared" / "data" / "dubai"
RESULTS = ROOT / "benchmarks" / "results" / "pruning_patterns.jsonl"
PAGE = ROOT / "docs" / "patterns.md"
BEGIN, END = "<!-- table: benchmarks/pruning_patterns.py -->", "<!-- end of table -->"

BASE_FILTERS, EPOCHS, BATCH, CROP, FREQUENCY = 8, 10, 16, 64, 5
PRUNE_BEGIN, PRUNE_END = 0.1, 0.6  # fractions of the training
FILTERS = ["/encoder_", "/bottom/", "/decoder_"]  # every kernel but the head's, which has one channel for each class
SEEDS = (0, 1, 2)
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


def crops(train: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    """A random square of each batch, the same for all of its images: a quarter of the pixels, a quarter of the time."""
    seeds = tf.data.Dataset.random(seed=seed + 2, rerandomize_each_iteration=True).batch(2)

    def cut(batch: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        top, left = tf.unstack(tf.random.stateless_uniform((2,), seed, 0, batch[0].shape[1] - CROP + 1, tf.int32))
        images, masks = (part[:, top : top + CROP, left : left + CROP] for part in batch)
        return tf.ensure_shape(images, (BATCH, CROP, CROP, 3)), tf.ensure_shape(masks, (BATCH, CROP, CROP))

    return tf.data.Dataset.zip((train, seeds)).map(cut).prefetch(tf.data.AUTOTUNE)


def train(folder: DataFolder, pattern: str, sparsity: float, seed: int) -> dict[str, float]:
    """One training -> mIoU on the test split, and the fraction of zeros in the selected kernels."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    data = datasets(folder, batch_size=BATCH, seed=seed)
    batches = crops(data["train"], seed)
    steps = EPOCHS * len(batches)
    model = UNet(len(folder.classes), BASE_FILTERS)
    model.build((None, *folder.image_size, 3))
    compile_model(model, folder.classes, steps=steps)
    callbacks = []
    if sparsity:
        begin, end = prune_steps(PRUNE_BEGIN, PRUNE_END, steps)
        schedule = PolynomialDecay(0.0, sparsity, begin, end, frequency=FREQUENCY)
        callbacks.append(PruningScheduleCallback(schedule, FILTERS, **PATTERNS[pattern]()))
    model.fit(batches, epochs=EPOCHS, callbacks=callbacks, shuffle=False, verbose=0)
    kernels = [compat.read(kernel) for kernel in select_weights(model, FILTERS).values()]
    zeros = sum(np.count_nonzero(kernel == 0) for kernel in kernels) / sum(kernel.size for kernel in kernels)
    scores = model.evaluate(data["test"], verbose=0, return_dict=True)
    return {"miou": round(float(scores["mIoU"]), 4), "zeros": round(float(zeros), 4)}


def read_results() -> dict[Key, dict[str, float]]:
    """What has been trained so far."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    records = [json.loads(line) for line in lines]
    return {(one["pattern"], one["sparsity"], one["seed"]): one for one in records}


def table(results: dict[Key, dict[str, float]]) -> str:
    """Mean (lowest to highest) over the seeds; a cell says where the zeros are not what was asked for."""

    def cell(pattern: str, sparsity: float) -> str:
        runs = [results[key] for seed in SEEDS if (key := (pattern, sparsity, seed)) in results]
        if not runs:
            return ""
        scores, zeros = [run["miou"] for run in runs], float(np.mean([run["zeros"] for run in runs]))
        text = f"{np.mean(scores):.3f}"
        if len(runs) > 1:
            text += f" ({min(scores):.3f} to {max(scores):.3f})"
        if len(runs) < len(SEEDS):
            text += f", {len(runs)} of {len(SEEDS)} seeds"
        return text if abs(zeros - sparsity) < 0.005 else f"{text}, {zeros:.3f} zeros"

    rows = [
        "| pattern | 0 (dense) | " + " | ".join(str(sparsity) for sparsity in SPARSITIES) + " |",
        "|---|" + "---|" * (1 + len(SPARSITIES)),
    ]
    for pattern in PATTERNS:
        cells = [cell("dense", 0.0), *(cell(pattern, sparsity) for sparsity in SPARSITIES)]
        rows.append(f"| `{pattern}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def write_page(text: str) -> None:
    """Puts the table into its place on the page."""
    if PAGE.exists():
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=DUBAI, help="folder of the Dubai images")
    parser.add_argument("--table", action="store_true", help="train nothing, write the table of what there is")
    parser.add_argument("--patterns", nargs="+", default=list(PATTERNS), choices=list(PATTERNS), metavar="NAME")
    arguments = parser.parse_args()
    results = read_results()
    missing = [] if arguments.table else [key for key in wanted(arguments.patterns) if key not in results]
    if missing:
        try:
            folder = open_folder(arguments.data_dir, size_multiple=8)
        except DataFolderError as error:
            print(f"{len(missing)} trainings are to be made and need the data: name its folder by --data_dir.\n{error}")
            return 2
    for number, (pattern, sparsity, seed) in enumerate(missing, 1):
        start = time.perf_counter()
        result = train(folder, pattern, sparsity, seed)
        seconds = round(time.perf_counter() - start, 1)
        record = {"pattern": pattern, "sparsity": sparsity, "seed": seed, **result, "seconds": seconds}
        with RESULTS.open("a") as handle:
            handle.write(json.dumps(record) + "\n")
        print(f"{number} of {len(missing)}: {record}", flush=True)
        write_page(table(read_results()))
    text = table(read_results())
    write_page(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
