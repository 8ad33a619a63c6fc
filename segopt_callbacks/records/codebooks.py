"""What is remembered of a weight that was clustered. Pure NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_COLUMNS = 256


@dataclass(frozen=True)
class Density:
    """How values lie between the lowest and the highest.

    Attributes:
        counts: `(256,)`, values in each of as many equal parts.
        low: the lowest value.
        high: the highest.
    """

    counts: np.ndarray
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Density:
        """Counts finite values of any shape.

        >>> int(Density.of(np.array([1.0, 2.0, 2.0])).counts[-1])
        2
        """
        low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
        if not values.size:
            return cls(np.zeros(_COLUMNS, np.int64), 0.0, 0.0)
        counts, _ = np.histogram(values, _COLUMNS, (low, high))
        return cls(counts, low, high)


@dataclass(frozen=True)
class Codebook:
    """What clustering chose for a weight.

    Attributes:
        density: of the weight's values before.
        error: squared, relative to the variance of the weight's values before.
    """

    density: Density
    error: float
