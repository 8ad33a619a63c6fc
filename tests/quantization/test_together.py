"""Pruned, clustered and trained against rounding in one fit: `int8` and `int4` files keep the promises of all three."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ClusterScheduleCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    QuantizationAwareTrainingCallback,
    block,
    compat,
)
from segopt_callbacks.compat import keras
from tests.conformance import compiled
from tests.export.litert.litert_cases import run

IMAGES = np.random.default_rng(0).uniform(size=(32, 12, 12, 3)).astype("float32")
LABELS = (IMAGES.mean(-1) > 0.5).astype("int32")


class Net(keras.Model):
    """Convolutions with a normalisation behind them, which converters fold into kernels."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, name="first")
        self.normalize = keras.layers.BatchNormalization(name="normalize")
        self.second = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, name="second")
        self.again = keras.layers.BatchNormalization(name="again")
        self.head = keras.layers.Conv2D(2, 1, name="head")

    def call(self, inputs, training=None):
        hidden = tf.nn.relu(self.normalize(self.first(inputs), training=training))
        return self.head(tf.nn.relu(self.again(self.second(hidden), training=training)) + hidden)


def integer_kernels(path):
    """Kernels as LiteRT itself reads them, `(out, height, width, in)`."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    operators = [one for one in interpreter._get_ops_details() if one["op_name"] == "CONV_2D"]
    return [interpreter.get_tensor(int(one["inputs"][1])) for one in operators]


CLUSTERINGS = {
    "none": lambda: [],
    "at_the_end": lambda: [ClusterOnTrainEndCallback(8)],
    "in_the_fit": lambda: [ClusterScheduleCallback(8, begin_step=6)],
}


@pytest.mark.parametrize("clustering", CLUSTERINGS)
def test_zeros_and_shared_values_reach_the_file(tmp_path, clustering):
    clusterings = CLUSTERINGS[clustering]()
    training = QuantizationAwareTrainingCallback()
    export = ExportQuantizedCallback(tmp_path, ("int8",), evaluation_data=(IMAGES, LABELS), verbose=0)
    model = compiled(Net())
    model.fit(
        IMAGES,
        LABELS,
        batch_size=8,
        epochs=4,
        verbose=0,
        callbacks=[export, training, *clusterings, PruningScheduleCallback(0.5)],
    )
    assert export.report["formats"]["int8"]["ranges"] == {"learned": len(training.ranges), "calibrated": []}
    assert export.report["formats"]["int8"]["equal_argmax"] > 0.95
    kernels = integer_kernels(tmp_path / "int8.tflite")
    weights = [compat.read(weight) for weight in model.weights if len(weight.shape) == 4]
    assert [kernel.dtype for kernel in kernels] == [np.dtype("int8")] * 3
    for kernel, weight in zip(kernels, weights, strict=True):
        stored = np.moveaxis(weight, -1, 0)
        assert (kernel[stored == 0] == 0).all()
        assert (stored == 0).sum() >= round(0.5 * stored.size)
        if clusterings:
            assert np.unique(stored).size <= 8
            assert np.unique(kernel).size <= 8
    if clusterings:
        folded = {
            path.rpartition("/")[0].rpartition("/")[2] for path, one in clusterings[0].report.items() if one.folded
        }
        assert folded == {"first", "second"}


def test_pairs_of_zeros_and_the_rounding_of_training_reach_a_file_of_4_bits(tmp_path):
    export = ExportQuantizedCallback(tmp_path, ("int4",), evaluation_data=(IMAGES, LABELS), verbose=0)
    pruning = PruningScheduleCallback(0.5, pattern=block(2, 1), filters=["second"])
    training = QuantizationAwareTrainingCallback(num_bits=4)
    model = compiled(Net())
    model.fit(IMAGES, LABELS, batch_size=8, epochs=4, verbose=0, callbacks=[export, training, pruning])
    kernels = integer_kernels(tmp_path / "int4.tflite")
    weights = [weight for weight in model.weights if len(weight.shape) == 4]
    for kernel, weight in zip(kernels, weights, strict=True):
        values = compat.read(weight)
        scale = np.abs(values).max((0, 1, 2)) / 7
        codes = np.round(values / scale)
        np.testing.assert_array_equal(kernel, np.moveaxis(codes, -1, 0))
        weight.assign((codes * scale).astype("float32"))
    second = kernels[1].reshape(-1, 2)  # neighbouring input channels: the two that share a byte
    assert (second == 0).all(1).mean() >= 0.5
    answers = model.predict(IMAGES, verbose=0)
    assert export.report["formats"]["int4"]["status"] == "ok"
    (found,) = run(tmp_path / "int4.tflite", {"input": IMAGES}).values()
    assert np.mean(found.argmax(-1) == answers.argmax(-1)) >= 0.995
