"""One-dimensional k-means. Pure NumPy.

In one dimension the clusters are runs of the sorted values, and with prefix sums the squared error of a run costs two
subtractions. So the best cuts among hundreds of candidates are found by dynamic programming, better ones near them by
more of it, and Lloyd's iterations over all the values end with means. Candidates are spaced as optimal cuts are in
theory: each cut then has few to choose from, and all are weighed together.
"""

from __future__ import annotations

import numpy as np

from segopt_callbacks.arrays import sortable
from segopt_callbacks.clustering.points import Bins, Points, readings

CUTS_PER_CLUSTER = 16  # among which the best are chosen
MANY = 30_000  # points that are too many to look at each
RUNS_PER_CUT = 8  # of points, from which it is told how densely cuts should lie
REACH, DRIFT = 4, 4  # clusters; how much one spans at most, and how far a cut is from its even share
WINDOW = 16  # steps, an even number, from one end to the other of where each cut is then looked for more closely
LLOYD_ITERATIONS = 100
WORTH = 1e-4  # of the error is what bins may add to it


def kmeans(weights: np.ndarray, clusters: int) -> tuple[np.ndarray, Bins | None]:
    """The values of least squared error for some weights, to about 0.1%.

    Args:
        weights: `(n,)` finite, floating-point, at least one.
        clusters: at least 1.

    Returns:
        `(at most clusters,)` ascending, the weights' dtype; and the bins that the weights were put in, if they were.

    Example:
        >>> kmeans(np.array([0.9, 1.1, -2.0], np.float32), 2)[0].tolist()
        [-2.0, 1.0]
    """
    for points in readings(sortable(weights)):
        if points.values.size <= clusters:
            if points.exact is not None:
                return points.exact.astype(weights.dtype), points.bins
            continue
        candidates, expected = _candidates(points, clusters)
        if points.inside > WORTH * expected:
            continue
        edges = _look_closer(points, candidates, _optimal_edges(points, candidates, clusters))
        means, error = _lloyd(points, edges)
        if points.inside <= WORTH * error:
            break
    return (means * points.scale + points.shift).astype(weights.dtype), points.bins


def _candidates(points: Points, clusters: int) -> tuple[np.ndarray, float]:
    """Positions where a cluster may begin, as dense as the best cuts should be; and about what error to expect.

    Optimal cuts lie in proportion to the cube root of the density (Panter and Dite 1951): a run of n values over a
    distance d holds n^(1/3) d^(2/3) of them, and k of them in all leave an error of the sum over runs of n d^2 / 12
    over the square of their own number. A run has room for one cut, its end, however far it is to the next.

    Returns:
        `(CUTS_PER_CLUSTER * clusters + 1,)` ascending, with repetitions where values are few; and the error.
    """
    runs = _runs(points, CUTS_PER_CLUSTER * clusters)
    distances = np.diff(np.append(points.values, points.values[-1])[runs])
    density = np.cbrt(np.diff(points.counts[runs]) * distances * distances)
    density += 1e-12 * density.sum()  # what is left over goes where nothing seems to be
    is_full = np.zeros(density.size, bool)
    while True:
        share = (clusters - np.count_nonzero(is_full)) / density[~is_full].sum()
        if not (density[~is_full] * share > 1).any():
            break
        is_full |= density * share > 1
    cuts = np.append(0.0, np.cumsum(np.where(is_full, 1.0, density * share)))
    places = np.searchsorted(cuts, np.linspace(0, clusters, CUTS_PER_CLUSTER * clusters + 1))
    places[-1] = runs.size - 1
    return runs[places], float(density[~is_full].sum() / (12 * share * share))


def _runs(points: Points, number: int) -> np.ndarray:
    """Ascending positions between which the density of points is taken as even."""
    values, size, weights = points.values, points.values.size, points.counts[-1]
    if size <= MANY:
        return np.arange(size + 1)
    # Runs are short in rank, in value, in points, and towards the ends for heavy tails.
    tail = np.geomspace(1, weights, RUNS_PER_CUT * number)
    ranks = np.concatenate([np.linspace(0, weights, RUNS_PER_CUT * number), tail, weights - tail])
    by_value = np.searchsorted(values, np.linspace(values[0], values[-1], number))
    by_point = np.linspace(0, size, number).astype(np.int64)
    runs = np.concatenate([np.searchsorted(points.counts, ranks), by_value, by_point])
    return np.flatnonzero(np.bincount(runs))  # np.unique, quicker


def _optimal_edges(points: Points, edges: np.ndarray, clusters: int) -> np.ndarray:
    """The cuts of least total error among the candidate `edges`, by dynamic programming: `(clusters + 1,)` positions.

    A cluster spans at most so many candidates as `REACH` do on average, and no cut is further than `DRIFT` clusters
    from its even share, unless one turns out to come near to that.
    """
    last = edges.size - 1
    reach, drift = (min(limit * CUTS_PER_CLUSTER, last) for limit in (REACH, DRIFT))
    while True:
        places = _within_reach(points, edges, clusters, reach, drift)
        drifted = np.abs(places - np.arange(clusters + 1) * CUTS_PER_CLUSTER).max()
        if (reach == last or np.diff(places).max() < 3 * reach // 4) and (drift == last or drifted < drift // 2):
            return edges[places]
        reach, drift = min(4 * reach, last), min(4 * drift, last)


def _within_reach(points: Points, edges: np.ndarray, clusters: int, reach: int, drift: int) -> np.ndarray:
    """`_optimal_edges` as places among the candidates: clusters span at most `reach`, cuts are at most `drift` away.

    `best[j]` is the least error of the weights before candidate `j` in `k` clusters: the minimum over the last cut `i`
    of `best[i]` with one cluster less and the error of the weights between `i` and `j`.
    """
    padded = [np.append(np.zeros(reach), one[edges]) for one in (points.sums, points.squares, points.counts)]
    error = _error(*(one[reach:, np.newaxis] - _windows(one, reach) for one in padded))
    best = np.full(reach + edges.size, np.inf)  # before the first candidate is nothing, at infinite cost
    best[reach] = 0.0
    before = _windows(best, reach)
    origins = []
    for middle in range(CUTS_PER_CLUSTER, edges.size, CUTS_PER_CLUSTER):
        near = slice(max(middle - drift, 0), middle + drift + 1)
        totals = before[near] + error[near]
        origin = totals.argmin(1)
        best[:] = np.inf
        best[reach:][near] = totals[np.arange(origin.size), origin]
        origins.append((near.start, origin))
    places = [edges.size - 1]
    for first, origin in reversed(origins):
        places.append(places[-1] - reach + int(origin[places[-1] - first]))
    return np.array(places[::-1])


def _windows(values: np.ndarray, reach: int) -> np.ndarray:
    """`(values - reach, reach)`, a view: the values before each but the first `reach`, the nearest last."""
    return np.lib.stride_tricks.sliding_window_view(values, reach)[:-1]


def _error(sums: np.ndarray, squares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Squared error of weights about their mean, from their sums; infinite of no weights."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 0, squares - sums * sums / counts, np.inf)


def _look_closer(points: Points, candidates: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The cuts of least total error near `edges`: dynamic programming in which each cut has a window of its own."""
    places = np.searchsorted(candidates, edges[1:-1])
    reach = np.diff(candidates[np.clip([places - 2, places + 2], 0, candidates.size - 1)], axis=0)[0] // 2
    is_closest = places.size == 0
    while not is_closest:
        is_closest = (reach <= WINDOW // 2).all()
        reach = np.maximum(reach, WINDOW // 2)
        windows = edges[1:-1] + np.linspace(-reach, reach, WINDOW + 1).astype(np.int64)
        edges = _best_of_windows(points, np.clip(windows.T, 0, points.values.size))  # (cuts, WINDOW + 1)
        reach = reach // (WINDOW // 2)  # one step each way
    return edges


def _best_of_windows(points: Points, windows: np.ndarray) -> np.ndarray:
    """The cuts of least total error, one of each row of `windows`, which must allow for some."""
    windows = np.pad(windows, ((1, 1), (0, 0)), constant_values=(0, points.values.size))  # the ends are known
    before = [one[windows] for one in (points.sums, points.squares, points.counts)]
    errors = _error(*(one[1:, np.newaxis] - one[:-1, :, np.newaxis] for one in before))
    best, origins = np.zeros(windows.shape[1]), []
    for error in errors:
        total = best[:, np.newaxis] + error
        origins.append(total.argmin(0))
        best = total.min(0)
    places = [0]
    for origin in reversed(origins):
        places.append(int(origin[places[-1]]))
    return windows[np.arange(windows.shape[0]), places[::-1]]


def _lloyd(points: Points, edges: np.ndarray) -> tuple[np.ndarray, float]:
    """Lloyd's iterations over all points from the clusters between `edges`: the means, and the squared error."""
    for _ in range(LLOYD_ITERATIONS):
        means = np.diff(points.sums[edges]) / np.diff(points.counts[edges])
        inner = np.searchsorted(points.values, (means[1:] + means[:-1]) / 2)
        moved = np.concatenate([[0], inner, [points.values.size]])
        if (np.diff(moved) == 0).any() or np.array_equal(moved, edges):
            break
        edges = moved
    sums, counts = np.diff(points.sums[edges]), np.diff(points.counts[edges])
    return sums / counts, float(points.squares[-1] - (sums * sums / counts).sum())
