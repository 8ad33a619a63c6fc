"""How many examples show how far the values of a model's tensors reach. Pure NumPy."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

VALUES = 100_000  # of inputs: the extremes of fewer are beyond what they show, and would be cut off in the file
MOST = 2_000  # examples, however few values one has


def enough(example: Iterable[np.ndarray], fewest: int) -> int:
    """How many examples like this one to look at: `fewest`, and more where one has few values.

    >>> enough([np.zeros((128, 128, 3))], fewest=200), enough([np.zeros(100)], 200), enough([np.zeros(4)], 200)
    (200, 1000, 2000)
    """
    values = sum(leaf.size for leaf in example)
    return max(fewest, min(VALUES // max(values, 1), MOST))
