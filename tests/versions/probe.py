"""What works with the TensorFlow and the Keras of this process: each feature is really run; the outcome as JSON.

python tests/versions/probe.py

It runs where nothing but the package is installed, from any folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import segopt_callbacks as s

keras = tf.keras
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3)).astype("uint8")
MASKS = (IMAGES.mean(-1) > 127).astype("int32")


class Net(keras.Model):
    """Subclassed, and without weights before its first step."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = keras.layers.Rescaling(1 / 255)
        self.hidden = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)
        self.norm = keras.layers.BatchNormalization()
        self.relu = keras.layers.ReLU()
        self.head = keras.layers.Conv2D(2, 1)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.head(self.relu(self.norm(self.hidden(self.scale(inputs)), training=training)))


def compiled(**options: Any) -> Any:
    keras.utils.set_random_seed(7)
    model = Net()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], **options)
    return model


def fitted(*callbacks: Any, epochs: int = 2, **options: Any) -> Any:
    model = compiled(**options)
    model.fit(IMAGES, MASKS, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model


def kernel(model: Any) -> np.ndarray:
    return np.asarray(model.hidden.kernel)


def pruning() -> None:
    assert (kernel(fitted(s.PruningScheduleCallback(s.ramp_by_fraction(0.75)))) == 0).mean() == 0.75


def patterns() -> None:
    model = fitted(s.PruningScheduleCallback(s.ramp_by_fraction(0.5, end=0.5), pattern=s.n_of_m(2, 4)))
    assert (kernel(model) == 0).mean() >= 0.5


def tfmot_schedules() -> None:
    model = fitted(s.PruningScheduleCallback(s.PolynomialDecay(0.0, 0.75, 0, 6, frequency=1)))
    assert (kernel(model) == 0).mean() == 0.75


def clustering() -> None:
    assert len(np.unique(kernel(fitted(s.ClusterOnTrainEndCallback(8))))) == 8


def fine_tuned_clusters() -> None:
    model = fitted(s.PruningScheduleCallback(0.5), s.ClusterScheduleCallback(8, begin_step=2))
    assert len(np.unique(kernel(model))) == 8
    assert (kernel(model) == 0).mean() == 0.5


def rounding() -> None:
    training = s.QuantizationAwareTrainingCallback()
    model = fitted(training)
    with tempfile.TemporaryDirectory() as folder:
        data = (IMAGES[:8], MASKS[:8])
        report = s.export_model(
            model, folder, ["int8"], evaluation_data=data, ranges=training.ranges, latency=False, verbose=0
        )
    assert report["formats"]["int8"]["status"] == "ok"


def learned_ranges() -> None:
    training = s.QuantizationAwareTrainingCallback(learn_ranges=True)
    fitted(training, epochs=6)
    assert training.ranges


def sensitivity() -> None:
    assert s.layer_sensitivity(fitted(), (IMAGES, MASKS), treatments=["int8", "prune"]).losses("prune")


def summaries() -> None:
    with tempfile.TemporaryDirectory() as folder:
        fitted(s.PruningScheduleCallback(0.5), s.CompressionSummaries(folder))
        assert list(pathlib.Path(folder).rglob("events*"))


def resumed() -> None:
    """A fit that is interrupted in its second epoch, and one that goes on from its backup."""

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    def run(*others: Any) -> Any:
        model = compiled()
        model(IMAGES[:1])
        schedule = s.ramp_by_fraction(0.75, begin=0.0, end=0.9)
        callbacks = [s.PruningScheduleCallback(schedule), keras.callbacks.BackupAndRestore(folder), *others]
        model.fit(IMAGES, MASKS, batch_size=16, epochs=3, verbose=0, callbacks=callbacks)
        return model

    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(KeyboardInterrupt):
            run(Interrupt())
        assert (kernel(run()) == 0).mean() == 0.75


def half_precision() -> None:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert (kernel(fitted(s.PruningScheduleCallback(0.5))) == 0).mean() == 0.5
    finally:
        keras.mixed_precision.set_global_policy("float32")


def compiled_with_xla() -> None:
    assert (kernel(fitted(s.PruningScheduleCallback(0.5), jit_compile=True)) == 0).mean() == 0.5


def export() -> None:
    formats = ("saved_model", "float32", "float16", "dynamic_int8", "int8")
    with tempfile.TemporaryDirectory() as folder:
        exporting = s.ExportQuantizedCallback(
            folder, formats, evaluation_data=(IMAGES[:8], MASKS[:8]), latency=False, verbose=0
        )
        fitted(s.PruningScheduleCallback(0.5), exporting)
    assert {entry["status"] for entry in exporting.report["formats"].values()} == {"ok"}


FEATURES: dict[str, Callable[[], None]] = {
    "prune": pruning,
    "patterns": patterns,
    "tfmot's schedules": tfmot_schedules,
    "cluster": clustering,
    "fine-tune clusters": fine_tuned_clusters,
    "train against 8 bits": rounding,
    "learn ranges": learned_ranges,
    "sensitivity": sensitivity,
    "TensorBoard": summaries,
    "backup": resumed,
    "mixed precision": half_precision,
    "XLA": compiled_with_xla,
    "export": export,
}


def outcome(feature: Callable[[], None]) -> str:
    try:
        feature()
    except Exception as error:  # whatever a version raises is what the table is to tell
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"
    return "ok"


def main() -> None:
    """Prints versions and outcomes."""
    import tf_keras

    keras_version = keras.__version__ if hasattr(keras, "__version__") else tf_keras.__version__
    if os.environ.get("TF_USE_LEGACY_KERAS") == "1":
        keras_version = f"tf_keras {tf_keras.__version__}"
    found = {
        "python": sys.version.split()[0],
        "tensorflow": tf.__version__,
        "keras": keras_version,
        "numpy": np.__version__,
        "features": {name: outcome(feature) for name, feature in FEATURES.items()},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
