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
    step_by_fraction,
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


def test_kernels_trained_against_4_bits_have_those_values_in_every_file(tmp_path):
    """At most 15 in each channel, the zeros of pruning among them; `int8` has the same 15 in all channels."""
    training = QuantizationAwareTrainingCallback(num_bits=4, begin_step=step_by_fraction(0.5))
    formats = ("float32", "int8")
    export = ExportQuantizedCallback(tmp_path, formats, evaluation_data=(IMAGES, LABELS), latency=False, verbose=0)
    best = keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)  # writes behind the last step
    model = compiled(Net())
    callbacks = [export, training, PruningScheduleCallback(0.5), best]
    model.fit(IMAGES, LABELS, batch_size=8, epochs=4, verbose=0, callbacks=callbacks)
    kernels = [compat.read(weight) for weight in model.weights if len(weight.shape) == 4]
    for kernel, stored in zip(kernels, integer_kernels(tmp_path / "int8.tflite"), strict=True):
        channels = kernel.reshape(-1, kernel.shape[-1])
        most = np.abs(channels).max(0)
        rounded = tf.raw_ops.FakeQuantWithMinMaxVarsPerChannel(
            inputs=channels, min=-most, max=most, num_bits=4, narrow_range=True
        )
        np.testing.assert_allclose(channels, rounded, rtol=1e-5, atol=1e-7)  # TensorFlow's own, 15 steps
        assert set(np.unique(np.abs(stored))) <= {0, 18, 36, 54, 73, 91, 109, 127}
        assert ((kernel == 0) & np.signbit(kernel)).sum() == round(0.5 * kernel.size)  # marked as pruned


def test_only_what_training_rounds_to_4_bits_is_written():
    """A kernel that is computed from a weight, one of 8 bits, and one that a filter leaves out stay as they are."""
    layers = [
        keras.layers.DepthwiseConv2D(3, name="depthwise"),
        keras.layers.Conv2D(8, 3, name="plain"),
        keras.layers.Conv2D(8, 3, name="spared"),
        Scaled(name="scaled"),
    ]
    model = compiled(keras.Sequential([keras.Input((12, 12, 3)), *layers]))
    training = QuantizationAwareTrainingCallback(["depthwise", "plain", "scaled"], num_bits=4)
    model.fit(IMAGES, np.zeros((32, 6, 6), "int32"), batch_size=8, verbose=0, callbacks=[training])
    kernels = {one.name: compat.read(one.weights[0]) for one in model.layers}
    assert len(np.unique(kernels["plain"][..., 0])) <= 15
    for name in ("depthwise", "spared", "scaled"):
        assert len(np.unique(kernels[name])) == kernels[name].size


def test_a_fit_that_ends_before_rounding_begins_says_so_and_leaves_kernels():
    training = QuantizationAwareTrainingCallback(num_bits=4, begin_step=100)
    model = compiled(Net())
    with pytest.warns(UserWarning, match="Nothing was trained against rounding.*begin_step=100, in a fit of 4 steps"):
        model.fit(IMAGES, LABELS, batch_size=8, verbose=0, callbacks=[training])
    kernel = compat.read(model.first.kernel)
    assert len(np.unique(kernel)) == kernel.size


class Scaled(keras.layers.Layer):
    """Multiplies by the double of its weight."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(int(shape[-1]), 8), initializer="glorot_uniform", name="kernel")

    def call(self, inputs):
        return tf.matmul(inputs, tf.convert_to_tensor(self.kernel) * 2)
