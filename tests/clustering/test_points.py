"""Bins against sorting, and against searchsorted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segopt_callbacks.clustering import points
from segopt_callbacks.clustering.points import readings

pytestmark = pytest.mark.either_keras
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def all_readings(weights):
    return list(readings(np.array(weights, np.float32)))


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(points, "FEW", 0)


@settings(deadline=None, max_examples=200)
@given(weights=st.lists(finite, min_size=1, max_size=50), middles=st.lists(finite, max_size=8))
def test_every_reading_counts_all_weights_and_bins_find_what_searchsorted_finds(weights, middles):
    weights, middles = np.array(weights, np.float32), np.sort(np.array(middles, np.float32))
    for reading in all_readings(weights):
        assert reading.counts[-1] == weights.size
        assert (np.diff(reading.counts) > 0).all()
        assert (np.diff(reading.values) >= 0).all()
        assert reading.sums[-1] == pytest.approx(0, abs=1e-6)
        if reading.bins is not None:
            expected = np.searchsorted(middles, weights, side="right")
            np.testing.assert_array_equal(reading.bins.nearest(weights, middles), expected)


@settings(deadline=None, max_examples=50)
@given(weights=st.lists(finite, min_size=1, max_size=50))
def test_sorted_values_are_the_distinct_ones(weights):
    weights = np.array(weights, np.float32)
    exact = all_readings(weights)[-1]
    values, counts = np.unique(weights, return_counts=True)
    np.testing.assert_array_equal(np.diff(exact.counts), counts)
    np.testing.assert_array_equal(exact.exact, values)
    assert exact.inside == 0


def test_what_a_bin_hides_is_told():
    weights = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    for reading in all_readings(weights):
        scaled = (weights.astype(np.float64) - reading.shift) / reading.scale
        nearest = reading.values[np.searchsorted((reading.values[1:] + reading.values[:-1]) / 2, scaled)]
        assert reading.inside == pytest.approx(((scaled - nearest) ** 2).sum(), rel=0.05, abs=1e-12)
