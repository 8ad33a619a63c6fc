"""Trainings of a small U-Net on images from above, their files weighed, their results kept, and the table of a page."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import export_model
from segopt_callbacks.compat import keras
from train_unet.data import datasets
from train_unet.folder import DataFolder, DataFolderError, open_folder
from train_unet.losses import mean_iou
from train_unet.training import compile_model
from train_unet.unet import UNet

ROOT = Path(__file__).resolve().parent.parent
DUBAI = ROOT.parent / "shared" / "data" / "dubai"
LANDCOVER = ROOT / "train_unet" / "data" / "landcover"  # the embedded images
RESULTS = ROOT / "benchmarks" / "results.jsonl"  # of all studies
BASE_FILTERS, EPOCHS, BATCH, CROP = 8, 10, 16, 64
SEEDS = (0, 1, 2)
FILTERS = ["/encoder_", "/bottom/", "/decoder_"]  # every kernel but the head's, which has one channel for each class


class Training:
    """One training of equal length: the same weights, and the same crops in the same order, for each seed.

    Args:
        folder: the images.
        seed: of weights and crops.
        make: number of classes -> model; default: a U-Net of `BASE_FILTERS`.
        epochs: how long.
        batch: images in a batch.
        learning_rate: the highest; it falls to 0 along a cosine.
        hold: fraction of the training before it begins to fall.

    Attributes:
        steps: of the whole training.
        data: `train`, `val` and `test`; training batches are uncropped.
        model: built and compiled.
    """

    def __init__(
        self,
        folder: DataFolder,
        seed: int,
        *,
        make: Callable[[int], Any] | None = None,
        epochs: int = EPOCHS,
        batch: int = BATCH,
        learning_rate: float = 3e-3,
        hold: float = 0.0,
    ) -> None:
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        self.data = datasets(folder, batch_size=batch, seed=seed)
        self._batches = crops(self.data["train"], seed, batch)
        self.folder, self.epochs = folder, epochs
        self.steps = epochs * len(self._batches)
        self.model = (make or (lambda classes: UNet(classes, BASE_FILTERS)))(len(folder.classes))
        self.model.build((None, *folder.image_size, 3))
        compile_model(self.model, folder.classes, steps=self.steps, learning_rate=learning_rate, hold=hold)

    def run(self, *callbacks: Any) -> None:
        """Trains."""
        self.model.fit(self._batches, epochs=self.epochs, callbacks=list(callbacks), shuffle=False, verbose=0)

    def calibration(self, count: int = 10) -> Any:
        """Whole training images, as they are fed to the model: `count` batches."""
        return self.data["train"].take(count)

    def score(self, model: Any = None) -> float:
        """Mean IoU on the test split, of the model in memory."""
        return float((model or self.model).evaluate(self.data["test"], verbose=0, return_dict=True)["mIoU"])

    def weigh(self, formats: Sequence[str], keep: Path | None = None) -> dict[str, Any]:
        """mIoU of the model in memory, and of its files; their bytes after gzip, with a bound, and distinct values.

        The files stay in the folder `keep`, if there is one.
        """
        classes = len(self.folder.classes)
        with tempfile.TemporaryDirectory() as directory:
            report = export_model(
                self.model,
                keep or Path(directory),
                formats,
                representative_dataset=self.calibration(),
                evaluation_data=self.data["test"],
                metrics={"mIoU": mean_iou(classes, ignore_class=classes)},
                latency=False,
                verbose=0,
            )
        result: dict[str, Any] = {"miou": round(report["model"]["metrics"]["mIoU"], 4)}
        for name, entry in report["formats"].items():
            result |= {
                f"{name}_miou": round(entry["metrics"]["mIoU"], 4),
                f"{name}_gzip": entry["gzip_bytes"],
                f"{name}_entropy": entry["entropy_bytes"],
                f"{name}_distinct": max(row["distinct"] for row in entry["weights"]),
            }
        return result


def crops(train: tf.data.Dataset, seed: int, batch: int) -> tf.data.Dataset:
    """A random square of each batch, the same for all of its images: a quarter of the pixels, a quarter of the time."""
    seeds = tf.data.Dataset.random(seed=seed + 2, rerandomize_each_iteration=True).batch(2)

    def cut(pair: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        top, left = tf.unstack(tf.random.stateless_uniform((2,), seed, 0, pair[0].shape[1] - CROP + 1, tf.int32))
        images, masks = (part[:, top : top + CROP, left : left + CROP] for part in pair)
        return tf.ensure_shape(images, (batch, CROP, CROP, 3)), tf.ensure_shape(masks, (batch, CROP, CROP))

    return tf.data.Dataset.zip((train, seeds)).map(cut).prefetch(tf.data.AUTOTUNE)


class Study:
    """Results that are kept, line by line, and a table of them on a page.

    Args:
        name: of the script, of its results and of the place on the page.
        *pages: under `docs/`.
        keys: names of what tells one result from another.
        table: results by their keys -> Markdown.
    """

    def __init__(
        self, name: str, *pages: str, keys: tuple[str, ...], table: Callable[[Mapping[tuple, dict[str, Any]]], str]
    ) -> None:
        self.name, self.pages = name, [ROOT / "docs" / page for page in pages]
        self.keys, self.table = keys, table
        self._begin, self._end = f"<!-- table: benchmarks/{name}.py -->", "<!-- end of table -->"

    def results(self) -> dict[tuple, dict[str, Any]]:
        """What has been measured so far."""
        lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
        every = [one for one in map(json.loads, lines) if one["study"] == self.name]
        return {tuple(one[key] for key in self.keys): one for one in every}

    def add(self, key: tuple, result: dict[str, Any]) -> None:
        """Keeps one result."""
        record = {"study": self.name} | dict(zip(self.keys, key, strict=True)) | result
        with RESULTS.open("a") as handle:
            handle.write(json.dumps(record) + "\n")
        print(record, flush=True)

    def write(self) -> str:
        """Puts the table of all results into its place on the pages; returns it."""
        text = self.table(self.results())
        for page in self.pages:
            before, _, rest = page.read_text().partition(self._begin)
            page.write_text(f"{before}{self._begin}\n{text}\n{self._end}{rest.partition(self._end)[2]}")
        return text


def spread(values: Iterable[float], pattern: str = "{:.3f}") -> str:
    """Mean and range: `0.532 (0.524 to 0.539)`; how many there are, where not one for each seed."""
    values = list(values)
    if not values:
        return ""
    text = pattern.format(float(np.mean(values)))
    if len(values) > 1:
        text += f" ({pattern.format(min(values))} to {pattern.format(max(values))})"
    return text if len(values) == len(SEEDS) else f"{text}, {len(values)} of {len(SEEDS)} seeds"


def parser_of(script_doc: str | None) -> argparse.ArgumentParser:
    """The arguments that every such script has."""
    parser = argparse.ArgumentParser(description=script_doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=DUBAI, help="folder of the Dubai images")
    parser.add_argument("--table", action="store_true", help="train nothing, write the table of what there is")
    return parser


def run_study(
    study: Study,
    wanted: list[Any],
    measure: Callable[[DataFolder, Any], None],
    arguments: argparse.Namespace,
    data_dir: Callable[[Any], Path] | None = None,
) -> int:
    """Measures what is wanted and not there yet, and writes the table after each.

    Args:
        study: where results go.
        wanted: what to measure.
        measure: adds the results of one to the study.
        arguments: of `parser_of`.
        data_dir: the folder of images for one; default: that of the arguments.

    Returns:
        exit code: 0, or 2 if the data are not there.
    """
    missing = [] if arguments.table else wanted
    for number, one in enumerate(missing, 1):
        try:
            folder = open_folder(data_dir(one) if data_dir else arguments.data_dir, size_multiple=8)
        except DataFolderError as error:
            print(f"{len(missing)} trainings are to be made and need the data: name its folder by --data_dir.\n{error}")
            return 2
        start = time.perf_counter()
        measure(folder, one)
        print(f"{number} of {len(missing)}: {one}, {time.perf_counter() - start:.0f} s", flush=True)
        study.write()
    print(study.write())
    return 0
