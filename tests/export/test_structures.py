"""Models of several inputs and outputs."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.compat import keras
from segopt_callbacks.export import ExportError, export_model
from tests.export_models import IMAGES

FORMATS = ("saved_model", "float32", "int8")
LEFT, RIGHT = (np.random.default_rng(seed).uniform(size=(9, 16)).astype("float32") for seed in (0, 1))


def layers(left, right):
    together = keras.layers.Concatenate()([left, right])
    return keras.layers.Dense(2)(together), keras.layers.Dense(3)(left)


def by_name():
    left, right = keras.Input((16,), name="left"), keras.Input((16,), name="right")
    first, second = layers(left, right)
    return keras.Model({"left": left, "right": right}, {"second": second, "first": first})


def by_place():
    right, left = keras.Input((16,), name="a_right"), keras.Input((16,), name="b_left")
    return keras.Model([left, right], list(layers(left, right)))


@pytest.mark.parametrize(
    ("make", "x"),
    [(by_name, {"left": LEFT, "right": RIGHT}), (by_place, (LEFT, RIGHT))],
    ids=["by_name", "by_place"],
)
def test_inputs_and_outputs_do_not_change_places(make, x, tmp_path):
    y = np.zeros((9, 1))
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    report = export_model(make(), tmp_path, FORMATS, evaluation_data=data, verbose=0)
    for name in FORMATS:
        assert report["formats"][name]["largest_difference"] < (0.05 if name == "int8" else 1e-5)


def test_a_model_of_the_other_keras_exports_too(tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    layer = tf_keras.layers
    model = tf_keras.Sequential([layer.Rescaling(1 / 255), layer.Conv2D(8, 3), layer.ReLU(), layer.Conv2D(3, 1)])
    model(IMAGES)
    data = (IMAGES, np.zeros((len(IMAGES), 14, 14)))
    metrics = {"accuracy": keras.metrics.SparseCategoricalAccuracy()}
    report = export_model(model, tmp_path, FORMATS, evaluation_data=data, metrics=metrics, verbose=0)
    assert [report["formats"][name]["status"] for name in FORMATS] == ["ok"] * 3
    assert report["formats"]["float32"]["equal_argmax"] == 1.0


def test_keras_2_runs_python_control_flow_and_keras_3_names_it(tmp_path):
    class Branching(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(3)

        def call(self, inputs):
            outputs = self.head(inputs)
            if tf.reduce_mean(inputs) > 0:
                outputs = outputs * 2.0
            return outputs

    model = Branching()
    model(LEFT)
    arguments = {"evaluation_data": (LEFT, np.zeros(9)), "verbose": 0}
    if compat.is_keras_2(model):
        report = export_model(model, tmp_path, ["float32"], **arguments)
        assert report["formats"]["float32"]["largest_difference"] < 1e-5
    else:
        with pytest.raises(ExportError, match="float32: the model does not run as a graph"):
            export_model(model, tmp_path, ["float32"], **arguments)


def test_a_recurrent_file_forgets_between_examples(tmp_path):
    steps = np.random.default_rng(0).uniform(size=(5, 4, 3)).astype("float32")
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(6), keras.layers.Dense(2)])
    report = export_model(model, tmp_path, ["float32"], evaluation_data=(steps, np.zeros(5)), verbose=0)
    assert report["formats"]["float32"]["largest_difference"] < 1e-5
