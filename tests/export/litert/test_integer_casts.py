"""Casts of masks, ids and comparisons in an int8 file: LiteRT computes with them as TensorFlow does."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.export.litert import flatbuffer
from segopt_callbacks.export.litert.integer_casts import cast_to_integers
from tests.export.litert.litert_cases import run


class Features(keras.Model):
    """Integers, as they come, into a dense layer, unless they are 0."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3, name="dense")

    def call(self, inputs):
        mask = tf.cast(tf.not_equal(inputs[:, :1], 0), tf.float32)
        return self.dense(tf.cast(inputs, tf.float32)) * mask


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_are_read_without_a_float_operation(dtype, tmp_path):
    keras.utils.set_random_seed(3)
    model = Features()
    ids = np.random.default_rng(0).integers(-300, 300, (40, 6)).astype(dtype)
    ids[::4, 0] = 0
    model(ids)
    report = export_model(model, tmp_path, ["int8"], evaluation_data=(ids, np.zeros(40)), latency=False, verbose=0)
    assert report["formats"]["int8"]["status"] == "ok"
    assert flatbuffer.float_operations(tmp_path / "int8.tflite") == []
    expected = np.asarray(model(ids))
    (answers,) = run(tmp_path / "int8.tflite", {"input": ids}).values()
    assert np.abs(answers - expected).max() <= 0.03 * np.abs(expected).max()
    assert (answers[::4] == 0).all()


def test_a_range_wider_than_int16_stays_in_float(tmp_path):
    keras.utils.set_random_seed(3)
    model = Features()
    ids = np.random.default_rng(0).integers(-100_000, 100_000, (40, 6)).astype("int32")
    model(ids)
    arguments = {"evaluation_data": (ids, np.zeros(40)), "latency": False, "verbose": 0}
    with pytest.warns(UserWarning, match="int8"):
        report = export_model(model, tmp_path, ["int8"], on_failure="warn", **arguments)
    assert "CAST" in report["formats"]["int8"]["error"]
    report = export_model(model, tmp_path, ["int8"], float_fallback=True, **arguments)
    assert report["formats"]["int8"]["float_operations"][0].startswith("CAST")


def test_a_file_without_such_casts_stays_as_it_is(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    export_model(model, tmp_path, ["float32"], latency=False, verbose=0)
    content = (tmp_path / "float32.tflite").read_bytes()
    assert cast_to_integers(content) is content
