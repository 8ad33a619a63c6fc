import numpy as np
import pytest

from segopt_callbacks.arrays.ordering import distinct, sortable

pytestmark = pytest.mark.either_keras


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8])
def test_distinct_values_of_large_arrays_are_counted_right(dtype):
    """NumPy itself has counted up to a hundred where there were sixteen."""
    random = np.random.default_rng(0)
    for size in (60_000, 200_000, 400_000):
        values = (random.laplace(size=16) * 20).astype(dtype)[random.integers(0, 16, size)]
        found, counts = distinct(values)
        expected = {value: 0 for value in sorted(set(values.tolist()))}
        for value in values.tolist():
            expected[value] += 1
        assert found.tolist() == list(expected)
        assert counts.tolist() == list(expected.values())
        assert found.dtype == dtype


def test_only_float16_is_converted():
    for dtype in (np.float32, np.float64, np.int8, np.int16):
        values = np.zeros(3, dtype)
        assert sortable(values) is values
