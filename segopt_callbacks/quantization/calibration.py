"""Histograms of a tensor's values -> the range that 8 bits are spent on. Pure NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from segopt_callbacks.rules import require_one_of

BINS = 2048
LEVELS = 256
_SHARES = np.linspace(0.05, 1.0, 96)  # of the largest magnitude, tried as the largest that is kept
_OUTSIDE = 1e-4  # fraction of values that a percentile leaves out at each end


@dataclass(frozen=True)
class Histogram:
    """How often values lie where.

    Attributes:
        counts: `(bins,)`, in equal parts of the range.
        low: the lowest value, at most 0.
        high: the highest value, at least 0.
    """

    counts: np.ndarray
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray, low: float, high: float) -> Histogram:
        """Counts values between two bounds; zero is taken into the range."""
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        return cls(np.histogram(values, BINS, (low, high) if low < high else (0.0, 1.0))[0], low, high)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts, self.low, self.high)

    @property
    def middles(self) -> np.ndarray:
        """`(bins,)`, the middle of each part."""
        edges = np.linspace(self.low, self.high, self.counts.size + 1)
        return (edges[1:] + edges[:-1]) / 2


Range = tuple[float, float]


def min_max(histogram: Histogram) -> Range:
    """Everything.

    >>> min_max(Histogram.of(np.array([0.5, 2.0]), 0.5, 2.0))
    (0.0, 2.0)
    """
    return float(histogram.low), float(histogram.high)


def percentile(histogram: Histogram) -> Range:
    """All but a ten-thousandth of the values at each end."""
    if histogram.low == histogram.high:
        return histogram.low, histogram.high
    shares = np.cumsum(histogram.counts) / max(histogram.counts.sum(), 1)
    edges = np.linspace(histogram.low, histogram.high, histogram.counts.size + 1)
    low = edges[np.searchsorted(shares, _OUTSIDE, side="right")]
    high = edges[np.searchsorted(shares, 1 - _OUTSIDE) + 1]
    return min(float(low), 0.0), max(float(high), 0.0)


def mean_squared_error(histogram: Histogram) -> Range:
    """The range that loses least: `sum (x - q(x))^2` over all values, clipped ones included.

    Both ends are tried at the same shares of the largest magnitude (Sung et al. 2015,
    https://arxiv.org/abs/1511.06488).
    """
    return _best(histogram, _squared_error)


def entropy(histogram: Histogram) -> Range:
    """The range whose 256 steps tell most of the distribution: least Kullback-Leibler divergence.

    The reference keeps what is clipped in its outermost parts, so that clipping costs something (Migacz 2017, "8-bit
    inference with TensorRT").
    """
    counts = histogram.counts.copy()
    if histogram.low < histogram.high:
        # ReLU's zeros are exact whatever the range, and would outweigh all else.
        zero = min(int(-histogram.low / (histogram.high - histogram.low) * counts.size), counts.size - 1)
        counts[zero] = min(counts[zero], np.delete(counts[max(zero - 1, 0) : zero + 2], min(zero, 1)).max())
    return _best(Histogram(counts, histogram.low, histogram.high), _divergence)


Calibration = Literal["min_max", "percentile", "entropy", "mse"]
METHODS: dict[Calibration, Callable[[Histogram], Range]] = {
    "min_max": min_max,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mean_squared_error,
}


def validate_calibration(calibration: object) -> None:
    """Checks the name of a method.

    Raises:
        ValueError: if it is none of `METHODS`.

    >>> validate_calibration("percentile")
    """
    require_one_of("calibration", calibration, METHODS)


def _best(histogram: Histogram, loss: Callable[[Histogram, Range], float]) -> Range:
    largest = max(-histogram.low, histogram.high)
    tried = [(max(histogram.low, -one), min(histogram.high, one)) for one in (_SHARES * largest).tolist()]
    return min(reversed(tried), key=lambda one: loss(histogram, one))  # of equal ones the widest


def rounded(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as 8 bits of a range give them; zero is exact.

    >>> rounded(np.array([-1.0, 0.26, 2.0]), 0.0, 1.0).round(4).tolist()
    [0.0, 0.2588, 1.0]
    """
    scale = (high - low) / (LEVELS - 1)
    if scale <= 0:
        return np.zeros_like(values)
    zero = np.round(-low / scale)
    return (np.clip(np.round(values / scale) + zero, 0, LEVELS - 1) - zero) * scale


def _squared_error(histogram: Histogram, bounds: Range) -> float:
    middles = histogram.middles
    return float((histogram.counts * np.square(middles - rounded(middles, *bounds))).sum())


def _divergence(histogram: Histogram, bounds: Range) -> float:
    middles = histogram.middles
    inside = (middles >= bounds[0]) & (middles <= bounds[1])
    if not histogram.counts[inside].any():
        return np.inf
    reference = histogram.counts[inside].astype(np.float64)
    reference[0] += histogram.counts[middles < bounds[0]].sum()
    reference[-1] += histogram.counts[middles > bounds[1]].sum()
    # Each step spreads the values that it holds evenly over the parts that were not empty.
    scale = max(bounds[1] - bounds[0], 1e-30) / (LEVELS - 1)
    steps = np.round((middles[inside] - bounds[0]) / scale).astype(np.int64)
    counts = histogram.counts[inside]
    held = np.bincount(steps, counts)
    parts = np.bincount(steps, counts > 0)
    spread = np.where(counts > 0, held[steps] / np.maximum(parts[steps], 1), 0.0)
    p, q = reference / reference.sum(), spread / spread.sum()
    known = p > 0
    return float((p[known] * np.log(p[known] / np.maximum(q[known], 1e-12))).sum())
