"""Weights -> the points that one-dimensional k-means works on: sorted values, or narrow bins of them. Pure NumPy.

Sorting millions of weights takes longer than all that follows. A bin is known by the number, the sum and the sum of
squares of its weights, so that nothing is lost but cuts through its middle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

FEW = 10_000  # weights that are sorted in less time than bins take
_SEVERAL = 250_000  # weights that are worth a quarter of the bins only
_FEW_VALUES = 1024  # so few that each may have a bin of its own
_BITS = 18
_BINS = 1 << _BITS
_LARGE = 1e30  # its inverse, and differences of such numbers, are float32 numbers
_NOT_SIGN = np.int32(np.iinfo(np.int32).max)


@dataclass(frozen=True)
class Points:
    """Values in ascending order, each standing for the weights at it, or in its bin.

    Sums are of scaled weights, `(w - shift) / scale`: those of raw ones would cancel or leave float64's range.

    Attributes:
        values: `(points,)`, scaled.
        counts: `(points + 1,)`, weights before each point, and all of them.
        sums: `(points + 1,)`, of the weights before each point.
        squares: `(points + 1,)`, likewise of their squares.
        shift: of the scaling.
        scale: of the scaling.
        inside: squared error of the weights about their points, scaled; 0 where each value is a point.
        bins: how weights were put into bins, if they were.
        exact: `(points,)`, the values as they are, where each is a point.
    """

    values: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    shift: float
    scale: float
    inside: float = 0.0
    bins: Bins | None = None
    exact: np.ndarray | None = None


@dataclass(frozen=True)
class Bins:
    """Intervals that cover all weights.

    Attributes:
        of_weights: `(weights,)` integers, the bin of each.
        lows: `(bins + 1,)` float64, ascending: no weight of a bin is lower, none of it reaches the next but one.
    """

    of_weights: np.ndarray
    lows: np.ndarray

    def nearest(self, weights: np.ndarray, middles: np.ndarray) -> np.ndarray:
        """`np.searchsorted(middles, weights, side="right")`, several times as fast.

        Args:
            weights: `(weights,)`, those of the bins.
            middles: ascending, the weights' dtype.
        """
        at_low = np.searchsorted(middles, self.lows, side="right").astype(np.int32)
        bound = np.append(middles, np.array(np.inf, middles.dtype))
        place = at_low[self.of_weights]
        place += weights >= bound[place]
        crowded = at_low[2:] - at_low[:-2] > 1  # two middles at a bin, of which only one has been passed
        if crowded.any():
            again = np.flatnonzero(np.append(crowded, True)[self.of_weights])
            place[again] = np.searchsorted(middles, weights[again], side="right")
        return place


def readings(weights: np.ndarray) -> Iterator[Points]:
    """Points for some weights, from the quickest reading to the exact one.

    Args:
        weights: `(n,)` finite, float32 or float64, at least one.

    >>> [points.counts.tolist() for points in readings(np.array([3.0, 1.0, 3.0]))]
    [[0, 1, 3]]
    """
    for bins in _binnings(weights):
        points = _binned(weights, bins)
        exact = _one_value_each(weights, points)
        yield points if exact is None else exact
        if exact is not None:
            return
    yield _sorted(weights)


def _binnings(weights: np.ndarray) -> Iterator[Bins]:
    """Bins that take less time than sorting."""
    low, high = np.float32(weights.min()), np.float32(weights.max())
    if weights.size > FEW and low < high:
        yield _even_bins(weights, low, high, _BINS if weights.size > _SEVERAL else _BINS // 4)
    if weights.size > _SEVERAL:
        yield _floating_bins(weights)


def _sorted(weights: np.ndarray) -> Points:
    values = np.sort(weights)
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    scaled, shift, scale = _scaled(values)
    counts = np.append(first, values.size)
    sums, squares = (np.append(0.0, np.cumsum(one))[counts] for one in (scaled, scaled * scaled))
    return Points(scaled[first], counts, sums, squares, shift, scale, exact=values[first])


def _binned(weights: np.ndarray, bins: Bins) -> Points:
    scaled, shift, scale = _scaled(weights)
    counts = np.bincount(bins.of_weights)
    full = np.flatnonzero(counts)
    counts = counts[full]
    sums = np.bincount(bins.of_weights, scaled)[full]
    squares = np.bincount(bins.of_weights, scaled * scaled)[full]
    inside = float((squares - sums * sums / counts).sum())
    counts_before, sums_before, squares_before = (np.append(0, np.cumsum(one)) for one in (counts, sums, squares))
    values = np.maximum.accumulate(sums / counts)  # rounding may have changed the order of two
    return Points(values, counts_before, sums_before, squares_before, shift, scale, inside, bins)


def _one_value_each(weights: np.ndarray, points: Points) -> Points | None:
    """The same points, where each bin holds one value and there are few; `None` otherwise."""
    if points.bins is None or points.values.size > _FEW_VALUES:
        return None
    of_weights = points.bins.of_weights
    values = np.empty(points.bins.lows.size, weights.dtype)
    values[of_weights] = weights
    if not np.array_equal(values[of_weights], weights):
        return None
    values = values[np.flatnonzero(np.bincount(of_weights))]
    scaled = (values.astype(np.float64) - points.shift) / points.scale
    return dataclasses.replace(points, values=scaled, inside=0.0, exact=values)


def _scaled(weights: np.ndarray) -> tuple[np.ndarray, float, float]:
    shift = float(weights.mean(dtype=np.float64))
    scale = float(weights.max()) - float(weights.min()) or 1.0
    return (weights.astype(np.float64) - shift) / scale, shift, scale


def _even_bins(weights: np.ndarray, low: np.float32, high: np.float32, number: int) -> Bins:
    """Bins of equal width between the lowest and the highest weight."""
    width = (float(high) - float(low)) / (number - 1)
    is_in_range = 1 / _LARGE < width < _LARGE
    exact = weights if is_in_range else weights.astype(np.float64)
    of_weights = ((exact - exact.dtype.type(low)) * exact.dtype.type(1 / width)).astype(np.intp)
    # Differences and products are rounded: a weight may come to lie on the other side of an edge near by.
    return Bins(of_weights, float(low) + (np.arange(number + 1) - 0.5) * width)


def _floating_bins(weights: np.ndarray) -> Bins:
    """Bins of equal relative width: sign, exponent and nine bits more of each float32."""
    bits = (weights.astype(np.float32) + np.float32(0)).view(np.int32)  # -0.0 + 0.0 is 0.0
    of_weights = ((_in_order(bits) >> (32 - _BITS)) + np.int32(_BINS // 2)).astype(np.intp)
    edges = ((np.arange(_BINS) - _BINS // 2) << (32 - _BITS)).astype(np.int32)
    floats = _in_order(edges).view(np.float32)
    is_number = np.isfinite(floats)
    outside = np.copysign(np.inf, np.arange(_BINS) - _BINS // 2)
    lows = np.where(is_number, np.where(is_number, floats, 0).astype(np.float64), outside)
    return Bins(of_weights, np.append(lows, np.inf))


def _in_order(bits: np.ndarray) -> np.ndarray:
    """The bits of float32 as integers in the order of the floats; twice is as before."""
    return bits ^ ((bits >> 31) & _NOT_SIGN)
