"""Bounds of tensors over many examples, run several at a time: those of each example alone."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks.quantization import bounds
from segopt_callbacks.quantization.bounds import bounds_of

pytestmark = pytest.mark.either_keras
VALUES = (
    np.random.default_rng(0).normal(size=(50, 4, 3)).astype("float32")
    + np.linspace(1, 9, 50, dtype="f4")[:, None, None]
)
SPECS = [tf.TensorSpec((None, None, 3))]


def captured(function):
    calls = []

    @tf.function(input_signature=SPECS)
    def capture(values):
        tf.py_function(lambda count: calls.append(int(count)), [tf.shape(values)[0]], [])
        return {"a": function(values)}

    return capture, calls


def examples(values=VALUES):
    return ([one[None]] for one in values)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 50])
def test_they_are_those_of_all_values_with_zero(count):
    capture, calls = captured(lambda values: values)
    assert bounds_of(capture, examples(VALUES[:count])) == {
        "a": (min(0.0, float(VALUES[:count].min())), float(VALUES[:count].max()))
    }
    looks = [2, 1, 1] if count > 1 else []  # two together, and each of them alone
    assert sorted(calls) == sorted(
        [*looks, *[bounds.MOST] * (count // bounds.MOST), *[count % bounds.MOST] * (count % bounds.MOST > 0)]
    )


@pytest.mark.parametrize(
    "mixing",
    [
        lambda values: values - tf.reduce_mean(values, 0, keepdims=True),
        lambda values: tf.reduce_sum(values, 0),
        lambda values: tf.cumsum(tf.reshape(values, (1, -1, 3)), 1),
        lambda values: tf.reshape(values, (1, 4, 3)),
    ],
    ids=["mean", "sum", "reshape", "a batch of one"],
)
def test_a_model_that_mixes_examples_sees_each_alone(mixing):
    capture, calls = captured(mixing)
    alone = [mixing(tf.constant(one[None])).numpy() for one in VALUES]
    low, high = bounds_of(capture, examples())["a"]
    assert low == pytest.approx(min(0.0, min(one.min() for one in alone)), rel=1e-5)
    assert high == pytest.approx(max(one.max() for one in alone), rel=1e-5)
    assert max(calls) <= 2


def test_examples_of_other_sizes_are_not_stacked():
    values = [VALUES[:1, : size % 3 + 1] for size in range(20)]
    capture, _ = captured(lambda values: values)
    assert bounds_of(capture, ([one] for one in values))["a"][1] == pytest.approx(max(one.max() for one in values))


def test_large_examples_are_run_one_by_one(monkeypatch):
    monkeypatch.setattr(bounds, "NUMBERS", 30)  # two examples of 12 numbers
    capture, calls = captured(lambda values: values)
    bounds_of(capture, examples(VALUES[:7]))
    assert sorted(calls) == sorted([2, 1, 1, 2, 2, 2, 1])


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 30, 49])
def test_what_is_not_finite_is_never_lost(spoiled, at):
    values = VALUES.copy()
    values[at, 2, 1] = spoiled
    capture, _ = captured(lambda values: values)
    assert not np.isfinite(bounds_of(capture, examples(values))["a"]).all()


def test_without_examples_there_are_none():
    assert bounds_of(captured(lambda values: values)[0], iter([])) == {}
