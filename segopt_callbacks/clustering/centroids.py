"""Weights and a number of clusters -> centroids and assignment. Pure NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segopt_callbacks.arrays import blocks, distinct
from segopt_callbacks.clustering.kmeans import kmeans
from segopt_callbacks.clustering.points import Bins


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
    joined = np.empty(channels.shape, np.int32)
    start = 0
    for row, (values, assignment) in zip(joined, shared, strict=True):
        np.add(assignment, start, out=row, casting="unsafe")
        start += values.size
    assignment = np.moveaxis(joined.reshape(moved.shape), range(len(channel_axes)), channel_axes)
    centroids = np.concatenate([values for values, _ in shared])
    return Clusters(centroids, assignment, _relative_error(weights, assignment, centroids))


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
    rest = flat[flat != 0] if zero else flat
    if choose is not None:
        centroids, bins = choose(flat, clusters, zero), None
    else:
        centroids, bins = kmeans(rest, clusters - zero) if rest.size else (rest, None)
    if not zero:
        return centroids, _nearest(flat, centroids, bins)
    with_zero, _ = distinct(np.append(centroids, flat.dtype.type(0)))
    return with_zero, _nearest_but_zero(flat, rest, with_zero, bins)


def _relative_error(weights: np.ndarray, assignment: np.ndarray, centroids: np.ndarray) -> float:
    scale = float(np.abs(weights).max(initial=0.0)) or 1.0  # squares of huge and denormal weights leave float64's range
    flat, places, shared = weights.ravel(), assignment.ravel(), centroids.astype(np.float64) / scale
    mean = float(weights.mean(dtype=np.float64)) / scale if weights.size else 0.0
    error = variance = 0.0
    for part in blocks(flat.size):
        scaled = flat[part].astype(np.float64) / scale
        error += float(np.square(scaled - shared[places[part]]).sum())
        variance += float(np.square(scaled - mean).sum())
    return error / variance if variance else 0.0


def _nearest(weights: np.ndarray, centroids: np.ndarray, bins: Bins | None) -> np.ndarray:
    """Index of the nearest centroid."""
    middles = ((centroids[1:].astype(np.float64) + centroids[:-1]) / 2).astype(weights.dtype)
    return np.searchsorted(middles, weights, side="right") if bins is None else bins.nearest(weights, middles)


def _nearest_but_zero(weights: np.ndarray, rest: np.ndarray, centroids: np.ndarray, bins: Bins | None) -> np.ndarray:
    """Index of 0 for zeros, and of the nearest other centroid for the `rest`, as k-means placed it."""
    at = int(np.flatnonzero(centroids == 0)[0])
    assignment = np.full(weights.shape, at, np.int32)
    if rest.size:
        places = _nearest(rest, np.delete(centroids, at), bins)
        assignment[weights != 0] = places + (places >= at)
    return assignment
