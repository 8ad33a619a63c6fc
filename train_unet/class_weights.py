"""Weights of classes in the loss, so that rare ones count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BALANCED = "balanced"


def class_weights(given: Sequence[str], counts: np.ndarray) -> list[float] | None:
    """The weights that a flag asks for.

    Args:
        given: nothing; `["balanced"]`; or a number for each class.
        counts: `(classes,)`, pixels of each class in the training masks.

    Returns:
        one weight for each class, by id; `None` for none. Balanced ones are `pixels / (classes * pixels of the class)`,
        so that every class has the same share of the loss (scikit-learn's rule); a class without a pixel has 0.

    Raises:
        ValueError: for anything else.

    Example:
        >>> class_weights(["balanced"], np.array([8, 2, 0])), class_weights(["1", "0.5"], np.array([1, 1]))
        ([0.625, 2.5, 0.0], [1.0, 0.5])
    """
    if not given:
        return None
    if list(given) == [BALANCED]:
        occurring = np.count_nonzero(counts)
        weights = np.divide(counts.sum(), occurring * counts, out=np.zeros(len(counts)), where=counts > 0)
        return [float(one) for one in weights]
    try:
        numbers = [float(one) for one in given]
    except ValueError:
        numbers = []
    if len(numbers) != len(counts) or min(numbers) < 0 or not 0 < sum(numbers) < np.inf:
        raise ValueError(
            f"must be {BALANCED}, or a number of at least 0 for each of the {len(counts)} classes that are trained. "
            f"Received: {','.join(given)}."
        )
    return numbers
