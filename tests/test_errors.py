"""An error names the layer and its innermost cause, whatever Keras and TensorFlow wrap around it."""

import traceback

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import add_to, first_line
from segopt_callbacks.export.formats import TARGETS, validate_formats


class Failing(keras.layers.Layer):
    """Runs eagerly, and raises where it is traced for an export."""

    def __init__(self, cause, **options):
        super().__init__(**options)
        self.cause = cause

    def call(self, inputs):
        if self.cause == "python":
            raise KeyError("the innermost cause")
        if self.cause == "chain":
            try:
                raise LookupError("the innermost cause")
            except LookupError as error:
                raise RuntimeError("what the layer says") from error
        if self.cause == "operation":
            return tf.raw_ops.CheckNumerics(tensor=inputs / 0.0, message="the innermost cause")
        return tf.matmul(inputs, tf.zeros((7, 2)))  # tensors of other shapes


class Inner(keras.layers.Layer):
    def __init__(self, cause, **options):
        super().__init__(**options)
        self.failing = Failing(cause, name="failing")

    def call(self, inputs):
        return self.failing(inputs)


class Outer(keras.Model):
    def __init__(self, cause):
        super().__init__()
        self.inner = Inner(cause, name="inner")

    def call(self, inputs):
        return self.inner(inputs)


WORDS = {
    "python": "the innermost cause",
    "operation": "the innermost cause",
    "shapes": "Dimensions must be equal, but are 4 and 7",
}


@pytest.mark.parametrize("way", ["eager", "traced"])
@pytest.mark.parametrize("cause", WORDS)
def test_the_layer_and_the_innermost_cause(cause, way):
    model = Outer(cause)
    run = tf.function(model) if way == "traced" else model
    with pytest.raises((ValueError, KeyError, RuntimeError, tf.errors.InvalidArgumentError)) as caught:
        run(tf.ones((1, 4)))
    told = first_line(caught.value)
    words = WORDS[cause]
    if cause == "shapes" and way == "eager":
        words = "Matrix size-incompatible"
    assert words in told, caught.value
    if not (cause == "operation" and way == "traced"):  # it runs long after its layer
        assert "Failing" in told, caught.value
    assert "\n" not in told
    assert "\x1b" not in told
    assert len(told) < 300


def test_what_it_was_raised_from_is_told():
    with pytest.raises(RuntimeError) as caught:
        Failing("chain").call(None)
    assert first_line(caught.value) == "what the layer says (LookupError: the innermost cause)"


WRAPPED = "Exception encountered when calling "


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "ValueError"),
        ("plain", "plain"),
        ("first\nsecond", "first"),
        ("it must be one of:\n  - a", "it must be one of: - a"),
        ("a.py:1:1: error: 'tf.Erf' op\nnote: b", "'tf.Erf' op"),
        (
            "Exception encountered when calling layer 'c' (type C).",
            "Exception encountered when calling layer 'c' (type C).",
        ),
        ("Error when deserializing class 'D' using config={}.\n\nException encountered: Unknown f", "Unknown f"),
    ],
)
@pytest.mark.either_keras
def test_texts(text, line):
    assert first_line(ValueError(text)) == line


class Moody(keras.Model):
    """Runs eagerly alone."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)
        self.failing = Failing("shapes", name="failing")

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        hidden = self.dense(inputs)
        return hidden if tf.executing_eagerly() else self.failing(inputs) + hidden


def installed():
    for name in TARGETS:
        try:
            yield from validate_formats([name], has_data=True)
        except ValueError:
            continue


def test_every_format_tells_the_layer_and_the_cause(tmp_path):
    model, x = Moody(), np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    model(x)
    options = {"representative_dataset": lambda: ([one[None]] for one in x), "latency": False, "verbose": 0}
    for more in ({}, {"calibration": "mse"}):  # two ways into the int8 file
        with pytest.warns(UserWarning, match="Export failed"):
            report = export_model(model, tmp_path, list(installed()), on_failure="warn", **options, **more)
        assert len(report["formats"]) > 8
        for name, entry in report["formats"].items():
            assert "Failing" in entry["error"], (name, entry)
            assert "Dimensions must be equal, but are 4 and 7" in entry["error"], (name, entry)
            assert "\n" not in entry["error"]


class OfPython310(Exception):
    add_note = None  # came with Python 3.11


@pytest.mark.either_keras
@pytest.mark.parametrize("kind", [Exception, OfPython310])
def test_what_an_error_says_in_addition_is_in_its_traceback(kind):
    error = kind(1, 2)  # no text that something can be added to
    error.__cause__ = ValueError("why")
    add_to(error, "the weights are in rescue/")
    told = "".join(traceback.format_exception(error))
    assert "the weights are in rescue/" in told
    assert "why" in told
    assert error.args == (1, 2)
