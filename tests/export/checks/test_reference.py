"""Answers of the model that are computed before anybody asks: the same, in the same order, no more than fit."""

import numpy as np
import pytest

from segopt_callbacks import compat
from segopt_callbacks.data import Feed
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.checks import Reference, reference

keras = compat.keras
pytestmark = pytest.mark.either_keras
X = np.random.default_rng(0).normal(size=(80, 4)).astype("float32")


def references(x=X):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    return model, [Reference(model, Feed(model, (x, np.arange(len(x))), None, None)) for _ in range(2)]


def answered(batches):
    return ["answers" in vars(one) for one in batches]


def test_they_are_those_that_the_model_gives_when_it_is_asked():
    model, (ahead, asked) = references()
    ahead.look_ahead()
    first, second = list(ahead), list(asked)
    assert answered(first) == [True] * len(first)
    assert answered(second) == [False] * len(second)
    np.testing.assert_array_equal(np.concatenate([one.y for one in first]), np.arange(80))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.answers, other.answers)
    np.testing.assert_allclose(np.concatenate([one.answers for one in first]), model.predict(X, verbose=0), rtol=1e-5)


def test_what_does_not_fit_is_asked_later(monkeypatch):
    monkeypatch.setattr(reference, "AHEAD", 1)
    _, (ahead, _) = references()
    ahead.look_ahead()
    batches = list(ahead)
    assert answered(batches) == [True] + [False] * (len(batches) - 1)
    assert sum(len(one.inputs[0]) for one in batches) == 80


def test_an_error_waits_until_the_batches_before_it_are_through():
    spoiled = X.copy()
    spoiled[-1] = np.nan
    _, (ahead, _) = references(spoiled)
    ahead.look_ahead()
    batches = iter(ahead)
    assert np.isfinite(next(batches).answers).all()
    with pytest.raises(FormatError, match="NaN"):
        list(batches)
