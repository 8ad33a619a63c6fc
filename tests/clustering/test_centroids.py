import kmeans1d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.cluster import KMeans

from segopt_callbacks.arrays.ordering import distinct
from segopt_callbacks.clustering.centroids import cluster

RNG = np.random.default_rng(0)
SIZE = 1500
DISTRIBUTIONS = {
    "normal": RNG.normal(size=SIZE),
    "laplace": RNG.laplace(size=SIZE),
    "uniform": RNG.uniform(size=SIZE),
    "bimodal": np.append(RNG.normal(-5, 0.1, SIZE // 2), RNG.normal(5, 1, SIZE // 2)),
    "cauchy": RNG.standard_cauchy(SIZE),
    "lognormal": np.exp(3 * RNG.normal(size=SIZE)),
    "integers": RNG.integers(0, 200, SIZE).astype(float),
    "tiny": RNG.normal(size=SIZE) * 1e-30,
    "far from zero": RNG.normal(size=SIZE) * 0.1 + 100,
}


def optimal_error(values, clusters):
    """Exact k-means of sorted values by dynamic programming, `O(clusters * n^2)`: the reference."""
    values = np.sort(values.astype(np.float64))
    values = values - values.mean()
    sums, squares = np.append(0, np.cumsum(values)), np.append(0, np.cumsum(values**2))
    ends = np.arange(values.size + 1)
    counts = np.maximum(ends[None, :] - ends[:, None], 1)
    errors = (squares[None, :] - squares[:, None]) - (sums[None, :] - sums[:, None]) ** 2 / counts
    errors = np.where(ends[None, :] >= ends[:, None], errors, np.inf)
    best = errors[0]
    for _ in range(1, clusters):
        best = (best[:, None] + errors).min(0)
    return best[-1]


def error_of(values, clusters, **arguments):
    shared = cluster(values, clusters, **arguments).weights
    return float(np.sum((values.astype(np.float64) - shared) ** 2))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("clusters", [2, 16, 32, 64])
def test_the_error_is_within_a_thousandth_of_optimal(name, clusters):
    values = DISTRIBUTIONS[name].astype(np.float32)
    assert error_of(values, clusters, preserve_sparsity=False) <= 1.001 * optimal_error(values, clusters) + 1e-38


def mixture(generator):
    """Peaks, plateaus, tails, lattices and single values, wide and narrow, few weights and many."""
    draws = [
        lambda n: generator.laplace(size=n),
        lambda n: generator.uniform(-1, 1, n),
        lambda n: generator.standard_t(generator.uniform(1, 4), n),
        lambda n: generator.lognormal(0, generator.uniform(0.5, 3), n),
        lambda n: np.round(generator.normal(size=n) * generator.integers(3, 60)),
        lambda n: np.ones(n),
    ]
    size = int(10 ** generator.uniform(1, 4.3))
    parts = []
    for _ in range(generator.integers(1, 5)):
        draw = draws[generator.integers(len(draws))]
        part = draw(max(1, int(size * generator.uniform(0.02, 1))))
        parts.append(generator.normal() * 10 ** generator.uniform(-2, 2) + 10 ** generator.uniform(-3, 1.5) * part)
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("seed", range(10))
def test_any_mixture_is_within_a_thousandth_of_optimal(seed):
    """kmeans1d, exact dynamic programming, is the reference."""
    generator = np.random.default_rng(seed)
    for _ in range(25):
        values = mixture(generator)
        clusters = min(int(generator.choice([2, 3, 7, 16, 32, 64])), np.unique(values).size)
        exact = kmeans1d.cluster(values, clusters)
        shared = np.array(exact.centroids, np.float32)[np.array(exact.clusters)]
        reference = np.sum((values.astype(np.float64) - shared) ** 2)
        assert error_of(values, clusters, preserve_sparsity=False) <= 1.001 * reference, (values.size, clusters)


@pytest.mark.parametrize("clusters", [16, 64])
def test_rare_values_between_frequent_ones(clusters):
    """Neither ranks nor values tell them apart."""
    values = np.concatenate([np.linspace(0.5, 0.501, 30_000), np.zeros(10**6), np.ones(10**6)]).astype(np.float32)
    exact = kmeans1d.cluster(values[:30_000], clusters - 2)
    reference = np.sum((values[:30_000] - np.array(exact.centroids)[np.array(exact.clusters)]) ** 2)
    assert error_of(values, clusters, preserve_sparsity=False) <= 1.001 * reference


@pytest.mark.parametrize("clusters", [4, 16])
def test_no_worse_than_scikit_learn(clusters):
    values = DISTRIBUTIONS["laplace"].astype(np.float32)
    reference = KMeans(clusters, n_init=20, random_state=0).fit(values[:, None].astype(np.float64))
    assert error_of(values, clusters) <= 1.001 * reference.inertia_


LARGE = 30_000  # weights that are put into bins
LARGE_DISTRIBUTIONS = {
    "laplace": RNG.laplace(size=LARGE) * 0.01,
    "uniform": RNG.uniform(size=LARGE),
    "bimodal": np.append(RNG.normal(-5, 0.1, LARGE // 2), RNG.normal(5, 1, LARGE // 2)),
    "cauchy": RNG.standard_cauchy(LARGE),
    "lognormal": np.exp(3 * RNG.normal(size=LARGE)),
    "integers": RNG.integers(0, 200, LARGE).astype(float),
    "denormal": RNG.normal(size=LARGE) * 1e-40,
    "huge": RNG.normal(size=LARGE) * 5e37,
    "far from zero": RNG.normal(size=LARGE) * 0.1 + 100,
    "sparse": np.where(RNG.uniform(size=2 * LARGE) < 0.5, 0, RNG.laplace(size=2 * LARGE)),
}


@pytest.mark.parametrize("name", LARGE_DISTRIBUTIONS)
@pytest.mark.parametrize("clusters", [16, 64])
def test_many_weights_are_within_a_thousandth_of_optimal_too(name, clusters):
    """kmeans1d, exact dynamic programming, is the reference."""
    values = LARGE_DISTRIBUTIONS[name].astype(np.float32)
    scaled = values.astype(np.float64) / float(np.abs(values).max())
    shared = cluster(values, clusters).weights.astype(np.float64) / float(np.abs(values).max())
    nonzero = scaled[scaled != 0]
    exact = kmeans1d.cluster(nonzero, clusters - (nonzero.size < scaled.size))
    reference = np.sum((nonzero - np.array(exact.centroids)[np.array(exact.clusters)]) ** 2)
    assert np.unique(shared).size <= clusters
    np.testing.assert_array_equal(shared == 0, scaled == 0)
    assert np.sum((scaled - shared) ** 2) <= 1.001 * reference


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("name", ["laplace", "cauchy", "far from zero"])
def test_many_weights_get_their_nearest_centroid(name, dtype):
    values = np.clip(LARGE_DISTRIBUTIONS[name], -6e4, 6e4).astype(dtype)
    shared = cluster(values, 16, preserve_sparsity=False)
    assert shared.centroids.size <= 16
    exact, centroids = values.astype(np.float64), shared.centroids.astype(np.float64)
    middles = ((centroids[1:] + centroids[:-1]) / 2).astype(dtype).astype(np.float64)
    np.testing.assert_array_equal(shared.assignment, np.searchsorted(middles, exact, side="right"))


def test_many_weights_of_few_values_stay_as_they_are():
    values = np.random.default_rng(0).choice(np.float32([-1.5, 0.0, 0.1, 1e-30, 7.0]), LARGE * 2)
    np.testing.assert_array_equal(cluster(values, 8).weights, values)


weights = npst.arrays(
    st.sampled_from([np.float32, np.float16]),
    npst.array_shapes(max_dims=4, max_side=6),
    elements=st.floats(-100, 100, width=16),
)


@settings(deadline=None, max_examples=200)
@given(weights=weights, clusters=st.integers(2, 20))
def test_few_values_and_the_same_zeros(weights, clusters):
    shared = cluster(weights, clusters)
    assert shared.weights.shape == weights.shape
    assert shared.weights.dtype == weights.dtype
    assert distinct(shared.weights)[0].size <= clusters
    assert (shared.weights[weights == 0] == 0).all()
    assert np.abs(shared.weights).max() <= np.abs(weights).max()
    assert np.array_equal(cluster(weights, clusters).weights, shared.weights)


@settings(deadline=None, max_examples=200)
@given(weights=weights, clusters=st.integers(2, 20))
def test_each_weight_gets_its_nearest_centroid(weights, clusters):
    shared = cluster(weights, clusters, preserve_sparsity=False)
    flat = weights.astype(np.float64).ravel()
    distances = np.abs(flat[:, None] - shared.centroids.astype(np.float64)[None, :])
    taken = np.abs(flat - shared.weights.astype(np.float64).ravel())
    np.testing.assert_allclose(taken, distances.min(1), rtol=1e-2, atol=1e-2 * np.finfo(weights.dtype).eps * 1e4)


def test_pruned_weights_lend_one_cluster_to_zero():
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    weights[np.abs(weights) < 1.2] = 0
    shared = cluster(weights, 16)
    np.testing.assert_array_equal(shared.weights == 0, weights == 0)
    nonzero = weights[weights != 0]
    assert error_of(weights, 16) <= 1.001 * optimal_error(nonzero, 15)


@pytest.mark.parametrize("values", [[3.0] * 10, [0.0] * 10, [1.0, 2.0, 1.0, 0.0]])
def test_fewer_values_than_clusters_stay_as_they_are(values):
    np.testing.assert_array_equal(cluster(np.array(values, np.float32), 16).weights, np.array(values, np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(bad):
    with pytest.raises(ValueError, match="finite.*1 of 3"):
        cluster(np.array([1.0, bad, 2.0], np.float32), 2)


def test_too_few_clusters():
    with pytest.raises(ValueError, match="at least 2 where zeros are preserved"):
        cluster(np.array([0.0, 1.0], np.float32), 1)
