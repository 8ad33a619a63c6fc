"""Outputs and layers that are not a plain function of the input: constants, the input itself, lookup tables."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.export.checks.repeated import once

X = np.random.default_rng(0).uniform(-1, 1, size=(8, 8, 8, 3)).astype("float32")
ANCHORS = {
    "batch_of_one": np.arange(32, dtype="float32").reshape(1, 4, 8),
    "rows": np.arange(12, dtype="float32").reshape(3, 4),
    "integers": np.arange(6, dtype="int32").reshape(1, 6),
}


class Detector(keras.Model):
    """Answers scores, anchors, the scores again, and its input."""

    def __init__(self, anchors):
        super().__init__()
        self.scores = keras.layers.Conv2D(2, 1)
        self.anchors = anchors

    def call(self, inputs):
        scores = self.scores(inputs)
        return [scores, tf.constant(self.anchors), scores, inputs]


@pytest.mark.parametrize("name", ANCHORS)
def test_constant_and_passed_through_outputs(tmp_path, name):
    model = Detector(ANCHORS[name])
    want = [np.asarray(one) for one in model(X)]
    formats = ["saved_model", "float32", "onnx"]
    report = export_model(model, tmp_path, formats, evaluation_data=(X, X[:, 0, 0, 0]), latency=False, verbose=0)
    assert {entry["status"] for entry in report["formats"].values()} == {"ok"}
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(tmp_path / "float32.tflite")).get_signature_runner()
    answers = runner(**{next(iter(runner.get_input_details())): X[2:3]})
    expected = [want[0][2:3], want[1], want[2][2:3], want[3][2:3]]
    for key, one in zip(sorted(answers), expected, strict=True):
        np.testing.assert_allclose(answers[key], one, rtol=1e-4, atol=1e-5)


@pytest.mark.either_keras
def test_a_repeated_answer_stands_for_the_worst():
    assert np.isnan(once(np.ones((1, 2)), np.array([[1, 1], [np.nan, 1], [5, 5]]))).any()
    answer = np.ones((6, 2))
    assert once(np.ones((6, 2)), answer) is answer
    assert once(np.ones((4, 2)), answer) is answer, "told of as it is"
    assert once(np.ones((1, 3)), answer) is answer


class Looked(keras.layers.Layer):
    """Keeps its table where Keras does not look."""

    def __init__(self):
        super().__init__()
        keys, values = tf.constant([1, 2], tf.int64), tf.constant([10.0, 20.0])
        table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), -1.0)
        self.hidden = type("Hidden", (), {"tables": [table]})()

    def call(self, inputs):
        return self.hidden.tables[0].lookup(tf.cast(inputs, tf.int64))


def embedded(inputs, indices):
    hidden = keras.layers.Flatten()(keras.layers.Embedding(9, 4)(indices))
    return keras.Model(inputs, keras.layers.Dense(2)(hidden))


def strings():
    inputs = keras.Input((3,), dtype="string")
    return embedded(inputs, keras.layers.StringLookup(vocabulary=["a", "b"])(inputs)), [["a", "b", "c"]] * 4


def integers():
    inputs = keras.Input((3,), dtype="int64")
    return embedded(inputs, keras.layers.IntegerLookup(vocabulary=[3, 4])(inputs)), np.array([[3, 4, 5]] * 4, "int64")


def own():
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2)(Looked()(inputs))), np.array([[1, 2, 5]] * 4, "float32")


@pytest.mark.parametrize("make", [strings, integers, own])
def test_lookup_tables_are_in_the_saved_model_and_other_formats_say_why_not(tmp_path, make):
    model, x = make()
    x = tf.constant(x)
    data = (x, np.zeros((4, 2), "float32"))
    options = {"evaluation_data": data, "latency": False, "verbose": 0, "on_failure": "warn"}
    with pytest.warns(UserWarning, match="Export failed"):
        report = export_model(model, tmp_path, ["saved_model", "float32", "onnx"], **options)
    assert report["formats"]["saved_model"]["status"] == "ok"
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    (answer,) = loaded.signatures["serving_default"](x).values()
    np.testing.assert_allclose(answer, model(x), rtol=1e-5)
    for entry in report["formats"].values():
        assert "untracked" not in entry.get("error", "")


class Queued(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.queue = tf.queue.FIFOQueue(1, [tf.float32])
        self.dense = keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs) + tf.cast(self.queue.size(), tf.float32)


def test_a_resource_that_cannot_be_saved_is_named(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Queued()(inputs))
    with pytest.warns(UserWarning, match="a resource that is no variable and no lookup table, .*ueue"):
        export_model(model, tmp_path, ["saved_model"], latency=False, verbose=0, on_failure="warn")
