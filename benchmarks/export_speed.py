"""How long a whole export takes beside the same files converted by hand; in one run.

    python benchmarks/export.py --speed [--rounds 3] [--examples 100]

Two models: the README's example (`saved_model`, `float32`, `int8`) and the U-Net of 16 base filters on the embedded
land-cover images (those, `float16` and `dynamic_int8`). Each round is a process of its own, which trains for a while
with an `ExportQuantizedCallback`. Ours is the time from the end of training to the end of `fit`: every file written,
opened, audited, run on the evaluation data, compared, timed, weighed and reported. By hand is `model.export` and
TensorFlow's converter from that SavedModel, with the same representative images, and nothing else. In every other round
one comes before the other.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import functools
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CASES = {
    "readme": ("saved_model", "float32", "int8"),
    "landcover": ("saved_model", "float32", "float16", "dynamic_int8", "int8"),
}
TITLES = {"readme": "the README's example", "landcover": "the land-cover U-Net"}
GOALS = {"readme": 2.5, "landcover": 1.0}
TRAINING_STEPS = {"readme": 80, "landcover": 12}


def readme_case(count: int) -> tuple[Any, Any, np.ndarray, Any]:
    """Model, training data, representative images and evaluation data of the README."""
    block = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(block, names)
    images, masks = names["images"], names["masks"]
    import tensorflow as tf

    train = tf.data.Dataset.from_tensor_slices((images, masks)).batch(16)
    return names["model"], train, images[:count], (images[:64], masks[:64])


def landcover_case(count: int) -> tuple[Any, Any, np.ndarray, Any]:
    """The same of the land-cover U-Net."""
    from train_unet.data import datasets, load
    from train_unet.folder import open_folder
    from train_unet.training import compile_model
    from train_unet.unet import UNet

    folder = open_folder(ROOT / "train_unet" / "data" / "landcover", size_multiple=8)
    model = UNet(len(folder.classes), 16)
    model.build((None, *folder.image_size, 3))
    compile_model(model, folder.classes, steps=TRAINING_STEPS["landcover"])
    data = datasets(folder, batch_size=8)
    images = load(folder, "train").shuffle(1000, seed=0).take(count).as_numpy_iterator()
    return model, data["train"].repeat(), np.stack([image for image, _ in images]), data["test"]


def one_round(case: str, count: int, ours_first: bool) -> dict[str, float]:
    """Trains, exports in both ways, and returns the seconds of each."""
    from segopt_callbacks import ExportQuantizedCallback
    from segopt_callbacks.compat import keras

    keras.utils.set_random_seed(0)
    model, train, images, evaluation = {"readme": readme_case, "landcover": landcover_case}[case](count)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export = ExportQuantizedCallback(
            folder / "ours",
            CASES[case],
            representative_dataset=lambda: ([images[index : index + 1]] for index in range(len(images))),
            evaluation_data=evaluation,
        )
        by_hand = functools.partial(convert_by_hand, model, CASES[case], images, folder, seconds)
        times: list[float] = []

        def training_has_ended(logs: Any) -> None:
            if not ours_first:
                by_hand()
            times.append(time.perf_counter())

        steps = TRAINING_STEPS[case]
        begin = keras.callbacks.LambdaCallback(on_train_end=training_has_ended)
        # It exports behind the last callback's `on_train_end`.
        model.fit(train.repeat(), epochs=1, steps_per_epoch=steps, verbose=2, shuffle=False, callbacks=[export, begin])
        seconds["ours"] = time.perf_counter() - times[0]
        if ours_first:
            by_hand()
        entries = export.report["formats"]
        seconds |= {f"ours, {name}": entry["seconds"] for name, entry in entries.items()}
    return seconds


def convert_by_hand(model: Any, formats: tuple[str, ...], images: np.ndarray, folder: Path, seconds: Any) -> None:
    """Writes the files, and the seconds that each takes."""
    from benchmarks import export_by_hand as by_hand

    for name in formats:
        start = time.perf_counter()
        if name == "saved_model":
            by_hand.write_saved_model(model, folder / "by_hand", (None, *images.shape[1:]))
        else:
            examples = images if name == "int8" else None
            by_hand.write_litert(folder / "by_hand", folder / f"{name}.tflite", examples, by_hand.OPTIMIZED.get(name))
        seconds[f"by hand, {name}"] = time.perf_counter() - start
    seconds["by hand"] = sum(seconds[f"by hand, {name}"] for name in formats)


def study(case: str, rounds: int, count: int) -> list[str]:
    """Markdown about one model."""
    seen = []
    for index in range(rounds):
        command = [sys.executable, __file__, "--one", case, "--examples", str(count)]
        done = subprocess.run(
            [*command, "--ours_first"][: None if index % 2 else -1], stdout=subprocess.PIPE, check=True
        )
        seen.append(json.loads(done.stdout.decode().splitlines()[-1]))
        print(f"{case} {index}: {seen[-1]}", file=sys.stderr, flush=True)
    names = ["whole", *CASES[case]]
    lines = [f"| {TITLES[case]}: seconds | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for who in ("by hand", "ours"):
        keys = [who, *(f"{who}, {name}" for name in CASES[case])]
        lines.append(f"| {who} | {' | '.join(f'{np.median([one[key] for one in seen]):.2f}' for key in keys)} |")
    ratios = [one["ours"] / one["by hand"] for one in seen]
    ratio = float(np.median(ratios))
    met = "met" if ratio <= GOALS[case] else "not met"
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return [
        *lines,
        "",
        f"The whole export takes {ratio:.2f} ({spread}) times as long. Goal: {GOALS[case]}, {met}.",
        "",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", choices=list(CASES), help="one round of one model, in this process")
    parser.add_argument("--ours_first", action="store_true")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=100, help="images that show int8 its ranges")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_round(arguments.one, arguments.examples, arguments.ours_first)))
        return 0
    for case in arguments.cases.split(","):
        print("\n".join(study(case, arguments.rounds, arguments.examples)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
