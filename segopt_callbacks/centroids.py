"""Weights and a number of clusters -> centroids and assignment: one-dimensional k-means. Pure NumPy.

In one dimension the clusters are runs of the sorted values, and with prefix sums the squared error of a run costs two
subtractions. So the optimal runs over a few hundred candidate cuts are found by dynamic programming, and Lloyd's
iterations over all the values then move the cuts to where they belong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CANDIDATE_CUTS = 768
LLOYD_ITERATIONS = 100


@dataclass(frozen=True)
class Clusters:
    """Weights shared among a few values.

    Attributes:
        centroids: `(clusters,)`, the weights' dtype, ascending within each channel; those of all channels in a row.
        assignment: int32, the weights' shape, index of each weight's centroid.
        error: mean squared error relative to the variance of the weights; 0 where nothing was lost.
    """

    centroids: np.ndarray
    assignment: np.ndarray
    error: float

    @property
    def weights(self) -> np.ndarray:
        """Each weight replaced by its centroid; the weights' shape."""
        return self.centroids[self.assignment]


def cluster(
    weights: np.ndarray,
    number_of_clusters: int,
    *,
    preserve_sparsity: bool = True,
    channel_axes: tuple[int, ...] = (),
    choose: Callable[[np.ndarray, int, bool], np.ndarray] | None = None,
) -> Clusters:
    """Shares weights among at most `number_of_clusters` values with the least squared error.

    Fewer distinct values than clusters are returned as they are. The result is deterministic.

    Args:
        weights: any shape, finite.
        number_of_clusters: at least 1; at least 2 where zeros are preserved beside other values.
        preserve_sparsity: zeros stay exactly zero, and zero counts as one of the clusters.
        channel_axes: axes along which each slice has as many values of its own. Default: one set for all.
        choose: another choice of values, see `initializations.find_initialization`. Default: the least squared error.

    Returns:
        `Clusters`, whose `weights` have the shape and dtype of the argument.

    Raises:
        ValueError: for too few clusters, or weights that are not finite.

    >>> cluster(np.array([0.0, 0.9, 1.1, -2.0], "float32"), 3).weights.tolist()
    [0.0, 1.0, 1.0, -2.0]
    >>> cluster(np.array([[1.0, 2.0], [3.0, 4.0]], "float32"), 1, channel_axes=(1,)).weights.tolist()
    [[2.0, 3.0], [2.0, 3.0]]
    """
    weights = np.asarray(weights)
    if not np.isfinite(weights).all():
        raise ValueError(
            "Weights must be finite to be clustered; lower the learning rate, or clip the gradients. "
            f"Received: {np.count_nonzero(~np.isfinite(weights))} of {weights.size} weights NaN or infinite."
        )
    moved = np.moveaxis(weights, channel_axes, range(len(channel_axes)))
    channels = moved.reshape(math.prod(moved.shape[: len(channel_axes)]), -1) if weights.size else moved.reshape(1, 0)
    shared = [_cluster_channel(channel, number_of_clusters, preserve_sparsity, choose) for channel in channels]
    first = np.cumsum([0, *(centroids.size for centroids, _ in shared)])
    joined = np.stack([assignment + start for (_, assignment), start in zip(shared, first[:-1], strict=True)])
    assignment = np.moveaxis(joined.reshape(moved.shape), range(len(channel_axes)), channel_axes).astype(np.int32)
    centroids = np.concatenate([centroids for centroids, _ in shared])
    return Clusters(centroids, assignment, _relative_error(weights, centroids[assignment]))


def _cluster_channel(
    flat: np.ndarray,
    clusters: int,
    preserve_sparsity: bool,
    choose: Callable[[np.ndarray, int, bool], np.ndarray] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Centroids and assignment of `(n,)` weights that share one set of values."""
    zero = bool(preserve_sparsity and (flat == 0).any())
    least = 2 if zero and flat.any() else 1
    if clusters < least:
        raise ValueError(
            f"`number_of_clusters` must be at least {least}{' where zeros are preserved' if least == 2 else ''}. "
            f"Received: number_of_clusters={clusters}."
        )
    if choose is None:
        values = np.sort(flat[flat != 0] if zero else flat)
        centroids = _kmeans(values, clusters - zero) if values.size else values
    else:
        centroids = choose(flat, clusters, zero)
    centroids = np.unique(np.append(centroids, flat.dtype.type(0)) if zero else centroids)
    return centroids, _nearest(flat, centroids, zero)


def _relative_error(weights: np.ndarray, shared: np.ndarray) -> float:
    scale = float(np.abs(weights).max(initial=0.0)) or 1.0  # squares of huge and denormal weights leave float64's range
    scaled = weights.astype(np.float64) / scale
    variance = float(scaled.var()) if weights.size else 0.0
    return float(np.mean((scaled - shared.astype(np.float64) / scale) ** 2)) / variance if variance else 0.0


def _nearest(weights: np.ndarray, centroids: np.ndarray, zero: bool) -> np.ndarray:
    """Index of the nearest centroid; where zeros are preserved, of 0 for zeros and for nothing else."""
    middles = (centroids[1:].astype(np.float64) + centroids[:-1]) / 2
    assignment = np.searchsorted(middles.astype(weights.dtype), weights, side="right")
    if zero and centroids.size > 1:
        # A small weight belongs to the nearest centroid that is not zero, as k-means placed it.
        at = int(np.flatnonzero(centroids == 0)[0])
        below, above = max(at - 1, 0), min(at + 1, centroids.size - 1)
        lost = (assignment == at) & (weights != 0)
        values = weights[lost].astype(np.float64)
        distance_below = np.where(below == at, np.inf, np.abs(values - centroids[below]))
        distance_above = np.where(above == at, np.inf, np.abs(values - centroids[above]))
        assignment[lost] = np.where(distance_below <= distance_above, below, above)
        assignment[weights == 0] = at
    return assignment


def _kmeans(values: np.ndarray, clusters: int) -> np.ndarray:
    """Centroids of sorted `values`: `(at most clusters,)`, their dtype."""
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))  # where each distinct value begins
    if first.size <= clusters:
        return values[first]
    # Sums of squares cancel far from the mean and under- or overflow far from 1: shift and scale first.
    shift, scale = float(values.mean(dtype=np.float64)), float(values[-1]) - float(values[0])
    scaled = (values.astype(np.float64) - shift) / scale
    sums = np.append(0.0, np.cumsum(scaled))
    squares = np.append(0.0, np.cumsum(scaled * scaled))
    edges = _candidate_edges(scaled, first, clusters)
    edges = _optimal_edges(sums[edges], squares[edges], edges.astype(np.float64), clusters, edges)
    means = _lloyd(scaled, sums, edges)
    return (means * scale + shift).astype(values.dtype)


def _candidate_edges(values: np.ndarray, first: np.ndarray, clusters: int) -> np.ndarray:
    """Positions in sorted `values` where a cluster may begin, 0 and the end included."""
    if first.size <= CANDIDATE_CUTS:
        return np.append(first, values.size)
    # Optimal cuts lie in proportion to the cube root of the density (Panter and Dite 1951): a run of n values over a
    # distance d holds n^(1/3) d^(2/3) of them. Runs are short in rank, in value, and towards the ends for heavy tails.
    by_rank = np.linspace(0, values.size, 8 * CANDIDATE_CUTS, dtype=np.int64)
    by_value = np.searchsorted(values, np.linspace(values[0], values[-1], CANDIDATE_CUTS))
    tail = np.unique(np.geomspace(1, values.size, CANDIDATE_CUTS, dtype=np.int64))
    runs = np.unique(np.concatenate([by_rank, by_value, tail, values.size - tail]))
    distances = np.diff(np.append(values, values[-1])[runs])
    density = np.append(0.0, np.cumsum(np.cbrt(np.diff(runs) * distances * distances)))
    edges = runs[np.searchsorted(density, np.linspace(0, density[-1], CANDIDATE_CUTS))]
    # A cut lies between two distinct values.
    edges = np.append(first[np.searchsorted(first, edges, side="right") - 1], [0, values.size])
    edges = np.unique(edges)
    return edges if edges.size > 4 * clusters else np.append(first, values.size)


def _optimal_edges(
    sums: np.ndarray, squares: np.ndarray, counts: np.ndarray, clusters: int, edges: np.ndarray
) -> np.ndarray:
    """The cuts of least total error among the candidates, by dynamic programming: `(clusters + 1,)` positions.

    `best[j]` is the least error of the values before candidate `j` in `k` clusters. Its last cut moves right with `j`,
    so that halving finds all of them in one pass over the candidates for each level (divide and conquer).
    """
    size = edges.size

    def error(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        total = sums[stop] - sums[start]
        return squares[stop] - squares[start] - total * total / np.maximum(counts[stop] - counts[start], 1.0)

    best = error(np.zeros(size, np.int64), np.arange(size))
    cuts = np.zeros((clusters, size), np.int64)
    for k in range(1, clusters):
        best, cuts[k] = _next_row(best, error, k)
    chosen = [size - 1]
    for k in range(clusters - 1, 0, -1):
        chosen.append(cuts[k][chosen[-1]])
    return edges[np.array([*chosen, 0])[::-1]]


def _next_row(best: np.ndarray, error, k: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    """`best` and last cuts with one cluster more: `min over i of best[i] + error(i, j)` for every j, level by level."""
    size = best.size
    row, cut = np.full(size, np.inf), np.zeros(size, np.int64)
    row[: k + 1], cut[: k + 1] = 0.0, np.arange(-1, k).clip(0)
    lows, highs = np.array([k + 1]), np.array([size - 1])
    while (live := lows <= highs).any():
        lows, highs = lows[live], highs[live]
        middles = (lows + highs) // 2
        left = np.maximum(cut[lows - 1], k)
        right = np.where(highs + 1 < size, cut[np.minimum(highs + 1, size - 1)], size - 1)
        right = np.minimum(np.where(right == 0, size - 1, right), middles - 1)
        lengths = right - left + 1
        starts = np.cumsum(lengths) - lengths
        candidates = np.arange(lengths.sum()) - np.repeat(starts - left, lengths)
        costs = best[candidates] + error(candidates, np.repeat(middles, lengths))
        row[middles] = np.minimum.reduceat(costs, starts)
        hits = np.flatnonzero(costs == np.repeat(row[middles], lengths))
        cut[middles] = candidates[hits[np.searchsorted(hits, starts)]]
        lows, highs = np.concatenate([lows, middles + 1]), np.concatenate([middles - 1, highs])
    return row, cut


def _lloyd(values: np.ndarray, sums: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Lloyd's iterations over all sorted values from the clusters between `edges`: the means."""
    for _ in range(LLOYD_ITERATIONS):
        means = np.diff(sums[edges]) / np.diff(edges)
        inner = np.searchsorted(values, (means[1:] + means[:-1]) / 2)
        moved = np.concatenate([[0], inner, [values.size]])
        if (np.diff(moved) == 0).any() or np.array_equal(moved, edges):
            break
        edges = moved
    return np.diff(sums[edges]) / np.diff(edges)
