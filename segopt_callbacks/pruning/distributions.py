"""One sparsity for a model -> one for each weight. Pure NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from segopt_callbacks.pruning.masks import number_of_zeros

Distribution = Literal["uniform", "erk"]
DISTRIBUTIONS = get_args(Distribution)


def distribute(shapes: Sequence[tuple[int, ...]], sparsity: float, distribution: str) -> list[float]:
    """The sparsity of each weight under a distribution.

    Args:
        shapes: each weight's shape.
        sparsity: fraction of zeros, in [0, 1).
        distribution: `"uniform"` (each has `sparsity`) or `"erk"` (`erk_sparsities`).

    Returns:
        one fraction of zeros for each shape.

    >>> distribute([(2, 2), (4, 4)], 0.5, "uniform")
    [0.5, 0.5]
    """
    return erk_sparsities(shapes, sparsity) if distribution == "erk" else [sparsity] * len(shapes)


def erk_sparsities(shapes: Sequence[tuple[int, ...]], sparsity: float) -> list[float]:
    """Erdos-Renyi-Kernel: the sparsity of each weight, with their mean (by size) exactly `sparsity`.

    The density of a weight is in proportion to `sum(shape) / prod(shape)`: small ones, such as the first and the last
    convolution, stay dense and large ones take the zeros. Densities above 1 are set to 1 and the rest is scaled again.
    (Evci et al. 2020, section 3, https://arxiv.org/abs/1911.11134.) Whole weights are counted, so that the number of
    zeros over all is `round(sparsity * total)` wherever each weight can keep at least one value.

    Args:
        shapes: each weight's shape.
        sparsity: fraction of zeros over all weights, in [0, 1).

    Returns:
        one fraction of zeros for each shape; `fraction * size` is a whole number.

    Raises:
        ValueError: for a sparsity outside [0, 1).

    >>> [round(s, 2) for s in erk_sparsities([(3, 3, 3, 16), (3, 3, 64, 64)], 0.5)]
    [0.0, 0.51]
    """
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"`sparsity` must be a fraction of zeros, in [0, 1). Received: sparsity={sparsity}.")
    sizes = np.array([math.prod(shape) for shape in shapes], np.int64)
    scores = np.array([sum(shape) / math.prod(shape) for shape in shapes])
    kept = sizes.sum() - number_of_zeros(int(sizes.sum()), sparsity)
    dense = np.zeros(len(sizes), bool)
    while True:
        share = (kept - sizes[dense].sum()) / (scores * sizes)[~dense].sum() if not dense.all() else 0.0
        over = ~dense & (share * scores > 1.0)
        if not over.any():
            break
        dense |= over
    exact = np.where(dense, sizes, share * scores * sizes)
    return (1.0 - _whole(exact, sizes, int(kept)) / sizes).tolist()


def _whole(exact: np.ndarray, sizes: np.ndarray, total: int) -> np.ndarray:
    """Rounds counts so that they sum to `total` (largest remainder), each between 1 and its size."""
    counts = np.clip(np.floor(exact), 1, sizes).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")  # largest remainder first
    while counts.sum() < total:
        room = [i for i in order if counts[i] < sizes[i]][: total - int(counts.sum())]
        counts[room] += 1
    while counts.sum() > total and (counts > 1).any():
        spare = [i for i in order[::-1] if counts[i] > 1][: int(counts.sum()) - total]
        counts[spare] -= 1
    return counts
