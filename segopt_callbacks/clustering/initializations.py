"""Where the values that weights share come from, by name: ours, or one of tfmot's for people who compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.arrays import distinct
from segopt_callbacks.rules import did_you_mean

TFMOT = ("LINEAR", "RANDOM", "DENSITY_BASED", "KMEANS_PLUS_PLUS")
Initialization = Callable[[np.ndarray, int, bool], np.ndarray]


def find_initialization(initialization: Any) -> Initialization | None:
    """What chooses the values that weights share.

    Args:
        initialization: `"optimal"`, the values of least squared error; or, for comparison, one of tfmot's
            `CentroidInitialization`, as its member or its name: `"LINEAR"`, `"RANDOM"`, `"DENSITY_BASED"`,
            `"KMEANS_PLUS_PLUS"`. tfmot's are starting points that it means to train; their errors are 1.2 to 10 times
            the optimal one (`benchmarks/clustering.py`).

    Returns:
        function from `(n,)` weights, the number of values, and whether zero is one of them, to values, ascending;
        `None` for the optimal ones.

    Raises:
        ValueError: for anything else.

    Example:
        >>> find_initialization("LINEAR")(np.array([0.0, 0.1, 1.0, 4.0], np.float32), 3, False).tolist()
        [0.0, 2.0, 4.0]
    """
    name = getattr(initialization, "name", initialization)
    if name == "optimal":
        return None
    if not isinstance(name, str) or name not in TFMOT:
        raise ValueError(
            f'`initialization` must be "optimal", or one of tfmot\'s {", ".join(TFMOT)}.'
            f"{did_you_mean(name, ['optimal', *TFMOT])} Received: initialization={initialization!r}."
        )
    initializer = compat.tfmot_centroids(name)

    def choose(weights: np.ndarray, clusters: int, zero: bool) -> np.ndarray:
        values, _ = distinct(weights)
        if values.size <= clusters:
            return values
        return distinct(initializer(weights.astype(np.float32), clusters, zero).astype(weights.dtype))[0]

    return choose
