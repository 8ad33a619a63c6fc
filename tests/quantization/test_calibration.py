import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segopt_callbacks.quantization.calibration import METHODS, Histogram, rounded, validate_calibration

pytestmark = pytest.mark.either_keras
RANDOM = np.random.default_rng(0)
VALUES = {
    "relu": np.maximum(RANDOM.normal(size=50_000), 0),
    "normal": RANDOM.normal(size=50_000),
    "heavy tails": RANDOM.standard_t(2, 50_000),
    "an outlier": np.append(RANDOM.normal(size=50_000), [80.0]),
}


def histogram(values):
    return Histogram.of(values, values.min(), values.max())


def squared_error(values, bounds):
    return np.mean((values - rounded(values, *bounds)) ** 2)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("method", METHODS)
def test_ranges_hold_zero_and_nothing_that_was_not_there(name, method):
    values = VALUES[name]
    low, high = METHODS[method](histogram(values))
    assert min(values.min(), 0) <= low <= 0 <= high <= max(values.max(), 0)
    assert low < high


@pytest.mark.parametrize("name", VALUES)
def test_mean_squared_error_is_the_least_of_all_clippings(name):
    """A search over the values themselves is the reference."""
    values = VALUES[name]
    largest = np.abs(values).max()
    tried = [(max(values.min(), -one), min(values.max(), one)) for one in np.linspace(0.05, 1, 96) * largest]
    best = min(squared_error(values, (min(low, 0), high)) for low, high in tried)
    assert squared_error(values, METHODS["mse"](histogram(values))) <= 1.02 * best


def test_an_outlier_takes_no_steps_from_the_others():
    values = VALUES["an outlier"]
    assert METHODS["min_max"](histogram(values))[1] == 80
    for method in ("percentile", "entropy"):
        low, high = METHODS[method](histogram(values))
        assert -6 < low < high < 6, method


def test_percentiles_are_those_of_numpy():
    values = VALUES["normal"]
    expected = np.quantile(values, [1e-4, 1 - 1e-4])
    width = (values.max() - values.min()) / 2048
    np.testing.assert_allclose(METHODS["percentile"](histogram(values)), expected, atol=2 * width)


@settings(deadline=None, max_examples=100)
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50),
    method=st.sampled_from(sorted(METHODS)),
)
def test_any_values_have_a_range(values, method):
    values = np.array(values)
    low, high = METHODS[method](histogram(values))
    assert np.isfinite([low, high]).all()
    assert low <= 0 <= high
    assert (rounded(np.zeros(1), low, high) == 0).all()


def test_histograms_add_up():
    first, second = np.split(VALUES["normal"], 2)
    bounds = VALUES["normal"].min(), VALUES["normal"].max()
    both = Histogram.of(first, *bounds) + Histogram.of(second, *bounds)
    np.testing.assert_array_equal(both.counts, histogram(VALUES["normal"]).counts)


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="min_max, percentile, entropy, mse. Received: calibration='kl'"):
        validate_calibration("kl")
