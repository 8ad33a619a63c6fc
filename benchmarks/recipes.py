"""What `recipe` gives: size and quality of its files beside those of the dense float32 file, five seeds each.

    python benchmarks/recipes.py [--data_dir DIR] [--only SETTING] [--way WAY] [--seed SEED] [--table]

Each goal is trained as long as the dense network, with the callbacks of `recipe(goal)` and nothing else: no setting
knows the data. Two networks were held out, nothing was chosen by them. One is a U-Net whose encoder is MobileNetV2, the
other a small classifier of handwritten digits (8 x 8 pixels, of scikit-learn).
The size is that of the whole file after `gzip -9`; the metric is that of the file, run on the whole test split.
Results are appended to benchmarks/results.jsonl, and what stands there is not measured again. A training of
land cover takes two minutes on one core, one of Dubai thirteen, one of digits some seconds. The table goes into
docs/recipes.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.aerial import LANDCOVER, Study, Training, parser_of, run_study
from segopt_callbacks import ExportQuantizedCallback, recipe
from segopt_callbacks.compat import keras
from segopt_callbacks.recipes import GOALS
from train_unet.folder import DataFolder
from train_unet.losses import mean_iou
from train_unet.unet import UNet

SEEDS = tuple(range(5))
DENSE = "dense"
WAYS = (DENSE, *GOALS)
BATCH_SIZE = 8
TOLERANCE = 0.005  # of the metric, below the dense float32 file


@dataclass(frozen=True)
class Setting:
    """A network on some data: `train(folder, seed, callbacks, export_dir)` returns the report."""

    metric: str
    train: Callable[[DataFolder, int, list[Any], Path, tuple[str, ...]], Any]
    has_data_dir: bool = False


def segmentation(make: Callable[[int], Any], epochs: int, **options: Any) -> Callable[..., Any]:
    """Trains a network on images from above."""

    def train(folder: DataFolder, seed: int, callbacks: list[Any], into: Path, formats: tuple[str, ...]) -> Any:
        training = Training(folder, seed, make=make, epochs=epochs, batch=BATCH_SIZE, **options)
        classes = len(folder.classes)
        export = ExportQuantizedCallback(
            into,
            formats,
            representative_dataset=training.calibration(),
            evaluation_data=training.data["test"],
            metrics={"mIoU": mean_iou(classes, ignore_class=classes)},
            latency=False,
            verbose=0,
        )
        training.run(*callbacks, export)
        return export.report

    return train


def mobile_unet(classes: int) -> Any:
    """MobileNetV2 (alpha 0.35, random weights) as encoder, and a decoder of transposed convolutions: 0.7M weights."""
    image = keras.Input((None, None, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(image)
    encoder = keras.applications.MobileNetV2(input_tensor=scaled, alpha=0.35, include_top=False, weights=None)
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.99  # its own, 0.999, takes longer than this training: the dense network had mIoU 0.13
    names = ("block_13_expand_relu", "block_6_expand_relu", "block_3_expand_relu", "block_1_expand_relu")
    hidden = encoder.get_layer("out_relu").output
    for name, filters in zip(names, (64, 48, 32, 16), strict=True):
        hidden = keras.layers.Conv2DTranspose(filters, 3, strides=2, padding="same", use_bias=False)(hidden)
        hidden = keras.layers.Concatenate()([hidden, encoder.get_layer(name).output])
        hidden = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(hidden)
        hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(hidden))
    hidden = keras.layers.UpSampling2D()(hidden)
    return keras.Model(image, keras.layers.Conv2D(classes, 1)(hidden))


def digits(folder: Any, seed: int, callbacks: list[Any], into: Path, formats: tuple[str, ...]) -> Any:
    """Trains a classifier of scikit-learn's digits: 40 epochs on 1,197 images, tested on 600."""
    from sklearn.datasets import load_digits

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
    layers = [keras.Input((8, 8, 1))]
    for filters in (32, 64):
        layers += [keras.layers.Conv2D(filters, 3, padding="same", use_bias=False), keras.layers.BatchNormalization()]
        layers += [keras.layers.ReLU(), keras.layers.MaxPooling2D()]
    layers += [keras.layers.Flatten(), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], jit_compile=False)
    test = (images[-600:], labels[-600:])
    export = ExportQuantizedCallback(into, formats, evaluation_data=test, latency=False, verbose=0)
    model.fit(images[:-600], labels[:-600], batch_size=32, epochs=40, verbose=0, callbacks=[*callbacks, export])
    return export.report


LAND_COVER, MOBILE = "land cover, U-Net of 0.49M", "land cover, MobileNetV2 U-Net (held out)"
DUBAI = "Dubai, U-Net of 7.8M"
SETS = {
    LAND_COVER: Setting("mIoU", segmentation(lambda classes: UNet(classes, 16, levels=4), 24)),
    DUBAI: Setting(
        "mIoU",
        segmentation(lambda classes: UNet(classes, 32, levels=5), 20, learning_rate=1.5e-3, hold=0.6),
        has_data_dir=True,
    ),
    MOBILE: Setting("mIoU", segmentation(mobile_unet, 24)),
    "digits, classifier of 0.04M (held out)": Setting("accuracy", digits),
}


def measure(folder: DataFolder, one: tuple[str, str, int]) -> None:
    """Trains and exports one network one way."""
    name, way, seed = one
    setting = SETS[name]
    callbacks = [] if way == DENSE else recipe(way, verbose=0)  # type: ignore[arg-type]
    formats = ("float32",) if way == DENSE else GOALS[way].formats  # type: ignore[index]
    with tempfile.TemporaryDirectory() as directory:
        report = setting.train(folder, seed, callbacks, Path(directory), formats)
    result: dict[str, Any] = {"model": round(report["model"]["metrics"][setting.metric], 4)}
    for kind, entry in report["formats"].items():
        result |= {
            f"{kind}_metric": round(entry["metrics"][setting.metric], 4),
            f"{kind}_gzip": entry["gzip_bytes"],
            f"{kind}_bytes": entry["bytes"],
        }
    STUDY.add(one, result)


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """A row for each set, way and file; within the tolerance in bold."""
    lines = [
        "| network | goal | file | metric | below dense | bytes | after gzip | times smaller |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for name, setting in SETS.items():
        dense = [results[name, DENSE, seed] for seed in SEEDS if (name, DENSE, seed) in results]
        for way in WAYS if dense else ():
            rows = [results[name, way, seed] for seed in SEEDS if (name, way, seed) in results]
            for kind in [key.removesuffix("_gzip") for key in (rows or [{}])[0] if key.endswith("_gzip")]:
                lines.append(f"| {name} | {way} | `{kind}` | {setting.metric} {row(dense, rows, kind)} |")
    return "\n".join(lines)


def row(dense: list[dict[str, Any]], rows: list[dict[str, Any]], kind: str) -> str:
    """Metric with its range over the seeds, loss, sizes and how many times smaller than the dense float32 file."""
    metrics = [one[f"{kind}_metric"] for one in rows]
    loss = float(np.mean([one["float32_metric"] for one in dense]) - np.mean(metrics))
    size, packed = (float(np.mean([one[f"{kind}_{key}"] for one in rows])) for key in ("bytes", "gzip"))
    times = f"{float(np.mean([one['float32_gzip'] for one in dense])) / packed:.1f}"
    times = f"**{times}**" if loss <= TOLERANCE else times
    seeds = "" if len(rows) == len(SEEDS) else f", {len(rows)} of {len(SEEDS)} seeds"
    told = f"{np.mean(metrics):.3f} ({min(metrics):.3f} to {max(metrics):.3f}){seeds}"
    return f"{told} | {loss:.3f} | {size:,.0f} | {packed:,.0f} | {times}"


STUDY = Study("recipes", "recipes.md", "results.md", keys=("set", "goal", "seed"), table=table)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--only", choices=SETS, action="append", help="one of the networks; may be given several times")
    parser.add_argument("--way", choices=WAYS, action="append", help="one of the ways; may be given several times")
    parser.add_argument("--seed", type=int, choices=SEEDS, help="one of the seeds")
    arguments = parser.parse_args()
    results = STUDY.results()
    seeds = SEEDS if arguments.seed is None else [arguments.seed]
    every = [(name, way, seed) for name in arguments.only or SETS for seed in seeds for way in WAYS]
    missing = [one for one in every if one not in results and one[1] in (arguments.way or WAYS)]
    return run_study(
        STUDY, missing, measure, arguments, lambda one: arguments.data_dir if SETS[one[0]].has_data_dir else LANDCOVER
    )


if __name__ == "__main__":
    sys.exit(main())
