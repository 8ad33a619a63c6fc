"""One-dimensional k-means. Pure NumPy.

In one dimension the clusters are runs of the sorted values, and with prefix sums the squared error of a run costs two
subtractions. So the best cuts among hundreds of candidates are found by dynamic programming, better ones near them by
more of it, and Lloyd's iterations over all the values end with means.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from segopt_callbacks.ordering import sortable
from segopt_callbacks.points import Bins, Points, readings

FEWEST_CUTS = 256
CUTS_PER_CLUSTER = 24  # among which the best are chosen
WINDOW = 16  # steps from one end to the other of the range in which each cut is then looked for more closely
CLOSER_LOOKS = 3
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
        candidates, expected = _candidate_edges(points, clusters)
        if points.inside > WORTH * expected:
            continue
        edges = _look_closer(points, candidates, _optimal_edges(points, candidates, clusters))
        means, error = _lloyd(points, edges)
        if points.inside <= WORTH * error:
            break
    return (means * points.scale + points.shift).astype(weights.dtype), points.bins


def _candidate_edges(points: Points, clusters: int) -> tuple[np.ndarray, float]:
    """Positions among the points where a cluster may begin, 0 and the end included; and about what error to expect."""
    values, size, weights = points.values, points.values.size, points.counts[-1]
    number = max(CUTS_PER_CLUSTER * clusters, FEWEST_CUTS)
    if size <= number:
        return np.arange(size + 1), math.inf
    # Optimal cuts lie in proportion to the cube root of the density (Panter and Dite 1951): a run of n values over a
    # distance d holds n^(1/3) d^(2/3) of them, and the error is the cube of their sum over 12 times their number's
    # square. Runs are short in rank, in value, and towards the ends for heavy tails.
    tail = np.geomspace(1, weights, number)
    ranks = np.concatenate([np.linspace(0, weights, 8 * number), tail, weights - tail])
    by_value = np.searchsorted(values, np.linspace(values[0], values[-1], number))
    runs = np.unique(np.concatenate([np.searchsorted(points.counts, ranks), by_value, [0, size]]))
    distances = np.diff(np.append(values, values[-1])[runs])
    density = np.append(0.0, np.cumsum(np.cbrt(np.diff(points.counts[runs]) * distances * distances)))
    for several in (1, 4, 16):  # single weights far away may take most of the places
        edges = np.unique(runs[np.searchsorted(density, np.linspace(0, density[-1], several * number))])
        if edges.size >= number // 2:
            break
    return np.union1d(edges, [0, size]), float(density[-1] ** 3 / (12 * clusters**2))


def _optimal_edges(points: Points, edges: np.ndarray, clusters: int) -> np.ndarray:
    """The cuts of least total error among the candidate `edges`, by dynamic programming: `(clusters + 1,)` positions.

    A cluster spans at most so many candidates as three do on average, unless one turns out to want more.
    """
    reach = min(3 * edges.size // clusters, edges.size - 1)
    while True:
        places = _within_reach(points, edges, clusters, reach)
        if reach == edges.size - 1 or np.diff(places).max() < reach:
            return edges[places]
        reach = min(4 * reach, edges.size - 1)


def _within_reach(points: Points, edges: np.ndarray, clusters: int, reach: int) -> np.ndarray:
    """`_optimal_edges` as places among the candidates, of clusters that span at most `reach` of them.

    `best[j]` is the least error of the weights before candidate `j` in `k` clusters: the minimum over the last cut `i`
    of `best[i]` with one cluster less and the error of the weights between `i` and `j`.
    """
    size = edges.size
    stop = np.arange(size)[:, np.newaxis]
    start = np.maximum(stop - np.arange(reach, 0, -1), 0)  # (candidates, reach): the last is the nearest
    error = _error(*(one[edges][stop] - one[edges][start] for one in (points.sums, points.squares, points.counts)))
    best = np.full(reach + size, np.inf)  # infinite before the first candidate
    best[reach] = 0.0
    origins = []
    for _ in range(clusters):
        totals = np.lib.stride_tricks.sliding_window_view(best, reach)[:-1] + error
        origins.append(totals.argmin(1))
        best[reach:] = totals[np.arange(size), origins[-1]]
    places = [size - 1]
    for origin in reversed(origins):
        places.append(max(places[-1] - reach + int(origin[places[-1]]), 0))
    return np.array(places[::-1])


def _error(sums: np.ndarray, squares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Squared error of weights about their mean, from their sums."""
    return squares - sums * sums / np.maximum(counts, 1.0)


def _look_closer(points: Points, candidates: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The cuts of least total error near `edges`: dynamic programming in which each cut has a window of its own."""
    places = np.searchsorted(candidates, edges[1:-1])
    lows, highs = candidates[np.maximum(places - 2, 0)], candidates[np.minimum(places + 2, candidates.size - 1)]
    for _ in range(CLOSER_LOOKS if places.size else 0):
        windows = np.linspace(lows, highs, WINDOW + 1, axis=1).astype(np.int64)  # (cuts, WINDOW + 1)
        edges = _best_of_windows(points, windows, edges)
        reach = np.maximum((highs - lows) // 8, 1)
        lows, highs = np.maximum(edges[1:-1] - reach, 0), np.minimum(edges[1:-1] + reach, points.values.size)
    return edges


def _best_of_windows(points: Points, windows: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The cuts of least total error, one of each row of `windows`; `edges` if none ascend."""
    ends = [np.zeros(1, np.int64), *windows, edges[-1:]]
    best, origins = np.zeros(1), []
    for before, after in itertools.pairwise(ends):
        start, stop = before[:, np.newaxis], after[np.newaxis]
        error = _error(
            points.sums[stop] - points.sums[start],
            points.squares[stop] - points.squares[start],
            points.counts[stop] - points.counts[start],
        )
        total = best[:, np.newaxis] + np.where(stop > start, error, np.inf)
        origins.append(total.argmin(0))
        best = total.min(0)
    if not np.isfinite(best[0]):
        return edges
    place, chosen = 0, [edges[-1]]
    for origin, window in zip(origins[::-1], ends[-2::-1], strict=True):
        place = origin[place]
        chosen.append(window[place])
    return np.array(chosen[::-1])


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
