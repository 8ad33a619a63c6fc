"""A model compared with itself: files of random, stateful and batch-dependent models are blamed on what they are."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks import compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.data import Feed
from segopt_callbacks.export.checks.nature import Nature, draw_faults, nature

X = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
STEPS = np.random.default_rng(1).normal(size=(4, 6, 3)).astype("float32")


class Noisy(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(3)

    def call(self, inputs):
        return self.head(inputs) + tf.random.normal((tf.shape(inputs)[0], 3))


class Centered(Noisy):
    """Takes the mean of its batch away."""

    def call(self, inputs):
        return self.head(inputs - tf.reduce_mean(inputs, axis=0, keepdims=True))


class Counting(Noisy):
    """Adds how often it was called."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), name="calls", initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        return self.head(inputs) + self.calls


def built(make, x=X):
    model = make()
    model(x)
    return model


def exported(model, folder, formats, x=X):
    data = (x, np.zeros((len(x), 1), "float32"))
    return export_model(model, folder, formats, evaluation_data=data, latency=False, verbose=0, on_failure="warn")


def of(model, x=X):
    return nature(model, Feed(model, (x, np.zeros(len(x))), None))


def test_a_plain_model_is_none_of_that():
    model = built(lambda: keras.Sequential([keras.layers.Dense(3), keras.layers.Dropout(0.5)]))
    found = of(model)
    assert (found.is_random, found.keeps_state, found.depends_on_batch) == (False, False, False)
    assert found.refusal() is None
    assert found.warnings() == []


@pytest.mark.filterwarnings("ignore:Export failed")
class OfFour(keras.Model):
    """Takes a batch of four alone; eagerly TensorFlow says so by an error of its own."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, x):
        return self.dense(tf.reshape(x, (4, X.shape[1])))


def test_of_a_model_that_takes_no_batch_of_one_nothing_is_said(monkeypatch):
    model = OfFour()
    model(X[:4])
    assert of(model, X[:8]) == Nature()
    monkeypatch.setattr(compat, "infer", lambda model, x: model(x))  # eager, as a layer of the user's own may be
    assert of(model, X[:8]) == Nature()


def test_data_that_the_model_in_memory_does_not_take_fail_the_files_in_words(tmp_path):
    """TensorFlow's own error, which Keras does not raise anew."""
    model = OfFour()
    model(X[:4])
    with pytest.warns(UserWarning, match="the model in memory does not take the data"):
        exported(model, tmp_path, ["saved_model"])


def test_a_random_model_is_delivered_with_that_word_and_its_files_draw(tmp_path):
    model = built(Noisy)
    assert of(model).is_random
    report = exported(model, tmp_path, ["saved_model", "float32"])
    assert {entry["status"] for entry in report["formats"].values()} == {"ok"}
    assert any("draws random numbers" in one for one in report["warnings"])
    run = Interpreter(str(tmp_path / "float32.tflite")).get_signature_runner()
    drawn = np.stack([run(input=X[:1])["output"] for _ in range(300)])
    np.testing.assert_allclose(drawn.std(0), 1, atol=0.25)


def test_a_file_that_draws_nothing_or_something_else_is_found_out():
    random = np.random.default_rng(0)

    def draws(scale, mean=0.0):
        return lambda: [mean + scale * random.normal(size=(1, 40))]

    assert draw_faults(["out"], draws(1.0), draws(1.0), 0.01) is None
    assert "is always the same" in draw_faults(["out"], draws(1.0), draws(0.0), 0.01)
    assert "times as far" in draw_faults(["out"], draws(1.0), draws(3.0), 0.01)
    assert "another mean" in draw_faults(["out"], draws(1.0), draws(1.0, mean=4.0), 0.01)


@pytest.mark.filterwarnings("ignore:Export failed")
def test_a_model_that_keeps_state_is_refused_by_name_and_left_as_it_was(tmp_path):
    model = built(Counting)
    before = float(compat.read(model.calls))
    report = exported(model, tmp_path, ["saved_model", "float32"])
    for entry in report["formats"].values():
        assert entry["error"].startswith("the model keeps state between calls")
    assert float(compat.read(model.calls)) == before


@pytest.mark.filterwarnings("ignore:Export failed")
def test_a_model_that_depends_on_its_batch_is_named_as_that(tmp_path):
    report = exported(built(Centered), tmp_path, ["saved_model", "float32", "dynamic_int8"])
    assert report["formats"]["saved_model"]["status"] == "ok"
    for name in ("float32", "dynamic_int8"):
        assert report["formats"][name]["error"].startswith("the model depends on its batch")
    assert any("depends on its batch" in one for one in report["warnings"])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "Bidirectional"])
def test_a_recurrent_file_answers_alike_at_every_call(tmp_path, kind):
    layer = getattr(keras.layers, "LSTM" if kind == "Bidirectional" else kind)(6)
    layer = keras.layers.Bidirectional(layer) if kind == "Bidirectional" else layer
    model = keras.Sequential([keras.Input((6, 3)), layer, keras.layers.Dense(2)])
    expected = np.asarray(model(STEPS[:1]))
    exported(model, tmp_path, ["float32"], STEPS)
    run = Interpreter(str(tmp_path / "float32.tflite")).get_signature_runner()
    (name,) = run.get_input_details()
    for _ in range(3):
        np.testing.assert_allclose(next(iter(run(**{name: STEPS[:1]}).values())), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Export failed")
def test_a_recurrent_layer_has_no_integer_file_and_the_error_says_so(tmp_path):
    model = keras.Sequential([keras.Input((6, 3)), keras.layers.LSTM(6)])
    report = exported(model, tmp_path, ["int8"], STEPS)
    assert report["formats"]["int8"]["error"].startswith("loops have no integer form in LiteRT")
