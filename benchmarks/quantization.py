"""Training against rounding: what it wins back of what rounding takes, and what it costs a training step.

    python benchmarks/quantization.py [--only accuracy|steps|sampling] [--data_dir DIR] [--table]

accuracy: mIoU of a U-Net of 0.12M weights on the embedded land cover and on aerial images of Dubai, three seeds each. A
  float model is trained, then trained on in each way, equally long, from the same weights, with the same images in the
  same order: plainly, against 8 bits, against kernels of 4 bits. Its `int8` and `int4` files are run on the test
  split. Results are appended to benchmarks/results.jsonl, and what stands there is not measured again; a
  seed takes four minutes on two idle cores. The table goes into docs/quantization.md.
steps: training steps of the U-Net of `steps.py`, batch 16, with averaged ranges and with trained ones, beside tfmot's
  `quantize_model` on the same tf_keras network, in turn; see benchmarks/pruning.py.
sampling: steps of a tiny network, with and without the sample of training inputs that integer files are calibrated on,
  for the first 8,192 examples, and after a million of them.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import steps
from benchmarks.aerial import LANDCOVER, SEEDS, Study, Training, parser_of, run_study, spread
from segopt_callbacks import QuantizationAwareTrainingCallback
from segopt_callbacks.compat import Callback, keras
from segopt_callbacks.data.reservoir import Reservoir
from segopt_callbacks.data.training_sample import TrainingSample
from train_unet.folder import DataFolder

FORMATS = ("int8", "int4")
SETS = {"land cover": (16, 8), "Dubai": (8, 4)}  # epochs in float, and further ones
LEARNING_RATE = 1e-3  # of the further ones; a third of what the float model begins with
FLOAT = "float, not trained on"
WAYS: dict[str, dict[str, Any] | None] = {
    "trained on plainly": None,
    "trained on against 8 bits": {"num_bits": 8},
    "trained on against 4 bits": {"num_bits": 4},
}
ROUNDS = 48


# --- accuracy --------------------------------------------------------------------------------------------------------


def measure(folder: DataFolder, one: tuple[str, int]) -> None:
    """Everything of one set and seed."""
    name, seed = one
    epochs, further = SETS[name]
    training = Training(folder, seed, epochs=epochs)
    training.run()
    weights = training.model.get_weights()
    if (name, FLOAT, seed) not in STUDY.results():
        STUDY.add((name, FLOAT, seed), training.weigh(FORMATS))
    for way, settings in WAYS.items():
        if (name, way, seed) in STUDY.results():
            continue
        training = Training(folder, seed + len(SEEDS), epochs=further, learning_rate=LEARNING_RATE)
        training.model.set_weights(weights)
        training.run(*([] if settings is None else [QuantizationAwareTrainingCallback(**settings)]))
        STUDY.add((name, way, seed), training.weigh(FORMATS))


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """A row for each set and way: mean (lowest to highest) over the seeds."""
    keys = {"in float": "miou", "`int8` file": "int8_miou", "`int4` file": "int4_miou"}
    lines = [f"| images | model | mIoU {' | '.join(keys)} |", "|---|---|" + "---|" * len(keys)]
    for name in SETS:
        for way in (FLOAT, *WAYS):
            found = [results[name, way, seed] for seed in SEEDS if (name, way, seed) in results]
            cells = [spread([one[key] for one in found]) for key in keys.values()]
            lines.append(f"| {name} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


STUDY = Study("quantization", "quantization.md", "results.md", keys=("set", "row", "seed"), table=table)


# --- steps -----------------------------------------------------------------------------------------------------------


def rounded_step(library: Any, *, learn_ranges: bool = False) -> Any:
    model = steps.compiled(steps.unet(library), library)
    callback = steps.begin(QuantizationAwareTrainingCallback(learn_ranges=learn_ranges), model)
    step = steps.make_step(model, steps.unet, after=callback.on_train_batch_end)
    for _ in range(10 if learn_ranges else 0):
        step()  # ranges are observed
    return step


def tfmot_step() -> Any:
    import tf_keras
    from tensorflow_model_optimization.quantization import keras as quantization

    model = steps.compiled(quantization.quantize_model(steps.unet(tf_keras)), tf_keras)
    return steps.make_step(model, steps.unet)


def measure_steps() -> None:
    import tf_keras

    every = {
        "plain": steps.plain_step(steps.unet, keras),
        "null": steps.plain_step(steps.unet, keras),
        "ours": rounded_step(keras),
        "learned": rounded_step(keras, learn_ranges=True),
        "plain, K2": steps.plain_step(steps.unet, tf_keras),
        "ours, K2": rounded_step(tf_keras),
        "learned, K2": rounded_step(tf_keras, learn_ranges=True),
        "tfmot, K2": tfmot_step(),
    }
    pairs = [("null", "plain"), ("ours", "plain"), ("ours, K2", "plain, K2"), ("tfmot, K2", "plain, K2")]
    pairs += [("ours, K2", "tfmot, K2"), ("learned", "ours"), ("learned, K2", "ours, K2")]
    steps.compare_steps(steps.unet, every, pairs, ROUNDS)


# --- sampling --------------------------------------------------------------------------------------------------------


class Sampling(Callback):
    """Samples training inputs behind some that have passed before, or none, and times the epoch."""

    def __init__(self, behind: int | None) -> None:
        super().__init__()
        self.behind, self.seconds = behind, 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        if self.behind is None:
            return
        sample = TrainingSample(self.model)
        sample._reservoir, wait = Reservoir(), 0
        while sample._reservoir.seen < self.behind:
            wait = sample._reservoir.add([np.zeros((1, 32, 32, 3), np.float32)], wait)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.seconds = -time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds += time.perf_counter()


def measure_sampling() -> None:
    random = np.random.default_rng(0)
    images = random.uniform(size=(256, 32, 32, 3)).astype("float32")
    labels = random.integers(0, steps.CLASSES, (256, 32, 32)).astype("int32")
    data = tf.data.Dataset.from_tensor_slices((images, labels)).cache().repeat(32).batch(8, drop_remainder=True)
    layers = [keras.layers.Conv2D(8, 3, padding="same", activation="relu"), keras.layers.Conv2D(steps.CLASSES, 1)]
    model = keras.Sequential([keras.Input((32, 32, 3)), *layers])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(data, verbose=0, shuffle=False)
    every = {"plain": None, "null": None, "first": 0, "after a million": 10**6}
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(ROUNDS // 4):
        for name in random.permutation(list(every)):
            epoch = Sampling(every[name])
            model.fit(data, verbose=0, shuffle=False, callbacks=[epoch])
            seconds[name].append(epoch.seconds / int(data.cardinality()))
    print("sampling: milliseconds of a step of batch 8, median and quartiles")
    for name, found in seconds.items():
        low, middle, high = np.quantile(found, [0.25, 0.5, 0.75]) * 1e3
        print(f"  {name:16} {middle:.2f} [{low:.2f}, {high:.2f}]", flush=True)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--only", choices=("accuracy", "steps", "sampling"), help="one of the parts")
    arguments = parser.parse_args()
    for part, measure_part in {"steps": measure_steps, "sampling": measure_sampling}.items():
        if arguments.only in (None, part) and not arguments.table:
            measure_part()
    if arguments.only in ("steps", "sampling"):
        return 0
    results = STUDY.results()
    missing = [
        (name, seed)
        for seed in SEEDS
        for name in SETS
        if any((name, way, seed) not in results for way in (FLOAT, *WAYS))
    ]
    places = {"land cover": LANDCOVER, "Dubai": arguments.data_dir}
    return run_study(STUDY, missing, measure, arguments, data_dir=lambda one: places[one[0]])


if __name__ == "__main__":
    sys.exit(main())
