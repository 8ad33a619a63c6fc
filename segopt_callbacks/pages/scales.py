"""Values -> positions along an axis, and the values that are marked there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

_LOG_FROM = 8  # times from the smallest to the largest value: from there on a linear axis crowds the small ones
_SMALLEST = 1e-100  # on a logarithmic axis
_STEPS = (1, 2, 2.5, 5, 10)
_MANTISSAS = ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
        low: value at `start`; its logarithm on a logarithmic axis.
        high: value at `end`, likewise.
        start: position.
        end: position.
        is_log: whether equal distances are equal factors.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool

    def __call__(self, value: float) -> float:
        """The position of a value."""
        value = math.log10(value) if self.is_log else value
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Round values along the axis, at most so many (one more where only that is round)."""
        return _log_ticks(self.low, self.high, most) if self.is_log else _linear_ticks(self.low, self.high, most)


def scale(
    values: Sequence[float],
    start: float,
    end: float,
    *,
    may_be_log: bool = False,
    least: float = 0.0,
    padding: float = 0.1,
) -> Scale:
    """An axis on which all values have room.

    Args:
        values: one or more, finite.
        start: position of the lower end.
        end: position of the upper end.
        may_be_log: whether it is logarithmic where values span a large factor; they must then be above 0.
        least: smallest span of a linear axis, as a fraction of the largest value: small differences stay small.
        padding: room at each end, as a fraction of the span.

    Example:
        >>> axis = scale([10, 1000], 0, 100, may_be_log=True)
        >>> round(axis(100)), axis.ticks(4)
        (50, [10.0, 100.0, 1000.0])
    """
    low, high = float(min(values)), float(max(values))
    is_log = may_be_log and low > _SMALLEST and high / low >= _LOG_FROM
    if is_log:
        low, high = math.log10(low), math.log10(high)
    else:
        largest = max(abs(low), abs(high))
        missing = max(least * largest, 1e-9 * largest, 1e-30) - (high - low)
        if missing > 0:
            low, high = low - missing / 2, high + missing / 2
    room = padding * (high - low)
    return Scale(low - room, high + room, start, end, is_log)


def decimals(ticks: Sequence[float]) -> int:
    """Digits behind the point that tell neighbouring ticks apart.

    >>> decimals([0.70, 0.72, 0.74]), decimals([0.0, 500.0])
    (2, 0)
    """
    steps = [abs(two - one) for one, two in itertools.pairwise(ticks)]
    step = min((step for step in steps if step > 0), default=max(map(abs, ticks), default=1) or 1)
    digits = max(0, math.ceil(-math.log10(step) - 1e-9))
    return min(digits + (round(step * 10**digits, 6) % 1 > 1e-6), 12)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / max(most, 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in _STEPS if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, first + most + 1) if number * step <= high + 1e-6 * step]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(low), math.ceil(high) + 1)
    for mantissas in _MANTISSAS:
        ticks = [float(m * 10.0**decade) for decade in decades for m in mantissas]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) <= most:
            return ticks
    every = math.ceil(len(ticks) / most)
    return ticks[::every]
