"""Scores, a sparsity and a pattern -> which weights stay. Pure NumPy.

Selection works on *ranks*: integers in the order in which weights are pruned. A non-negative float32 read as an integer
keeps its order, which leaves the negative integers for what goes first: what a pattern wants gone before all else, and,
lowest, what is pruned already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segopt_callbacks.patterns import UNSTRUCTURED, Pattern, Units

_PRUNED = np.iinfo(np.int32).min  # the rank of what is pruned already, so that masks nest while the sparsity grows
_KEPT = np.iinfo(np.int32).max  # the rank of what must stay
_LARGEST_FINITE = int(np.float32(np.finfo(np.float32).max).view(np.int32))


def number_of_zeros(size: int, sparsity: float) -> int:
    """How many of `size` weights are pruned: `round(sparsity * size)`, halves to even, and never all of them.

    >>> number_of_zeros(432, 0.8), number_of_zeros(3, 0.9)
    (346, 2)
    """
    return min(round(sparsity * size), size - 1)


def magnitude_mask(weights: np.ndarray, sparsity: float, *, pruned: np.ndarray | None = None) -> np.ndarray:
    """Keeps the weights of largest magnitude; `layer_mask` without a pattern.

    (Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878.)

    Args:
        weights: any shape, finite.
        sparsity: fraction of zeros, in [0, 1).
        pruned: `weights`' shape, True where a weight is pruned already.

    Returns:
        bool, `weights`' shape, True where a weight is kept.

    Raises:
        ValueError: for a sparsity outside [0, 1), or weights that are not finite.

    >>> magnitude_mask(np.array([[0.1, -3.0], [2.0, -0.2]]), 0.5)
    array([[False,  True],
           [ True, False]])
    """
    return layer_mask(np.abs(np.asarray(weights, np.float32)), sparsity, UNSTRUCTURED, pruned=pruned)


def layer_mask(
    scores: np.ndarray,
    sparsity: float,
    pattern: Pattern,
    *,
    pruned: np.ndarray | None = None,
    outputs: tuple[int, ...] = (-1,),
    name: str = "weights",
) -> np.ndarray:
    """Keeps the units of highest score in one weight.

    Without a pattern exactly `round(sparsity * size)` weights are pruned, whatever the ties: among equal scores those
    that come first in memory order go first. A pattern of larger units prunes the number of units whose size comes
    nearest to that (of two that are equally near, the smaller); once some are pruned, more follow only where more than
    half a unit is missing, so that the same sparsity again changes nothing. One unit always stays. What is pruned
    already goes before all others, so that masks nest while the sparsity grows.

    Args:
        scores: the weight's shape, not negative, finite: its magnitudes, for example.
        sparsity: fraction of zeros, in [0, 1).
        pattern: which weights go together.
        pruned: the scores' shape, True where a weight is pruned already.
        outputs: the axes of the weight that are its layer's output channels.
        name: of the weight, for errors.

    Returns:
        bool, the scores' shape, True where a weight is kept.

    Raises:
        ValueError: for a sparsity outside [0, 1), or scores that are not finite.
    """
    _check_sparsity(sparsity)
    units = pattern.units(scores, outputs)
    ranks = _ranks(units, name)
    if pruned is not None and not _are_the_zeros(pruned, ranks, units):
        ranks = _marked(ranks, units, pruned)
    return units.expand(_keep(ranks, units.sizes, number_of_zeros(scores.size, sparsity), spared=1))


def global_masks(
    scores: Sequence[np.ndarray],
    sparsity: float,
    pattern: Pattern,
    *,
    pruned: Sequence[np.ndarray | None],
    outputs: Sequence[tuple[int, ...]],
    names: Sequence[str],
) -> list[np.ndarray]:
    """Keeps the units of highest score over all weights together: one threshold, many sparsities.

    The scores of each weight are divided by their Euclidean norm first (Molchanov et al. 2017, section 2.2,
    https://arxiv.org/abs/1611.06440), since layers differ in scale. The best unit of each weight stays whatever its
    score, so that no weight is emptied. For the rest see `layer_mask`.

    Args:
        scores: one array for each weight, not negative, finite.
        sparsity: fraction of zeros over all weights, in [0, 1).
        pattern: which weights go together.
        pruned: for each weight its shape, True where it is pruned already, or `None`.
        outputs: for each weight the axes that are its layer's output channels.
        names: of the weights, for errors.

    Returns:
        for each weight bool of its shape, True where it is kept.

    Raises:
        ValueError: for a sparsity outside [0, 1), or scores that are not finite.
    """
    _check_sparsity(sparsity)
    every = [pattern.units(_normalized(one), axes) for one, axes in zip(scores, outputs, strict=True)]
    ranks = [_marked(_ranks(units, name), units, one) for units, one, name in zip(every, pruned, names, strict=True)]
    ranks = [np.where(np.arange(one.size) == np.argmax(one), np.int32(_KEPT), one) for one in ranks]
    of_units = [units.sizes for units in every if units.sizes is not None]  # the pattern decides: of all, or of none
    sizes = np.concatenate(of_units) if of_units else None
    zeros = number_of_zeros(sum(one.size for one in scores), sparsity)
    kept = _keep(np.concatenate(ranks), sizes, zeros, spared=len(ranks))
    parts = np.split(kept, np.cumsum([one.size for one in ranks])[:-1])
    return [units.expand(part) for units, part in zip(every, parts, strict=True)]


def _check_sparsity(sparsity: float) -> None:
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"`sparsity` must be a fraction of zeros, in [0, 1). Received: sparsity={sparsity}.")


def _normalized(scores: np.ndarray) -> np.ndarray:
    norm = math.sqrt(float(np.square(scores, dtype=np.float64).sum()))
    return scores / np.float32(norm) if norm else scores


def _ranks(units: Units, name: str) -> np.ndarray:
    """One int32 for each unit, in the order in which they are pruned."""
    ranks = np.ascontiguousarray(units.scores, np.float32).view(np.int32)
    # NaN and infinity are the largest integers; a copy of NaN may have its sign bit set.
    if ranks.size and (int(ranks.max()) > _LARGEST_FINITE or int(ranks.min()) < 0):
        bad = np.count_nonzero(~np.isfinite(units.scores))
        raise ValueError(
            "Weights must be finite to be pruned; lower the learning rate, or clip the gradients. "
            f"Received: {name}, {bad} of {ranks.size} values NaN or infinite."
        )
    return ranks if units.first is None else np.where(units.first, ranks + (_PRUNED + 1), ranks)


def _marked(ranks: np.ndarray, units: Units, pruned: np.ndarray | None) -> np.ndarray:
    """The ranks, with what is pruned already lowest."""
    return ranks if pruned is None else np.where(units.all_of(pruned), np.int32(_PRUNED), ranks)


def _are_the_zeros(pruned: np.ndarray, ranks: np.ndarray, units: Units) -> bool:
    """Whether what is pruned already is lowest as it is; that is faster to see than to write."""
    if units.sizes is not None or units.first is not None:
        return False
    count = np.count_nonzero(pruned)
    return count == ranks.size - np.count_nonzero(ranks) == np.count_nonzero(pruned.ravel() & (ranks == 0))


def _keep(ranks: np.ndarray, sizes: np.ndarray | None, zeros: int, *, spared: int) -> np.ndarray:
    """One bool for each unit, False for the lowest ranks.

    `zeros` counts weights, `sizes` those of each unit; the `spared` units of highest rank stay in any case.
    """
    if sizes is not None:
        kept = np.ones(ranks.size, bool)
        order = np.argsort(ranks, kind="stable")
        pruned = np.concatenate([[0], np.cumsum(sizes[order])])[:-spared]  # by the first k units
        count = already = int(np.count_nonzero(ranks == _PRUNED))
        if not already or zeros - pruned[already] > sizes.max() / 2:  # the same sparsity again changes no mask
            count += int(np.argmin(np.abs(pruned[already:] - zeros)))
        kept[order[:count]] = False
        return kept
    zeros = min(zeros, ranks.size - spared)
    if not zeros:
        return np.ones(ranks.size, bool)
    threshold = _nth_smallest(ranks, zeros)
    kept = ranks >= threshold
    ties = np.flatnonzero(ranks == threshold)
    kept[ties[: zeros - (ranks.size - np.count_nonzero(kept))]] = False
    return kept


def _nth_smallest(ranks: np.ndarray, n: int) -> int:
    """What `np.partition` finds, several times as fast: a sample tells between which two values to look.

    Those at the two values are counted instead: np.partition takes 12 times as long where many values are equal, as
    zeros are.
    """
    sample = np.sort(ranks[:: (ranks.size >> 16) | 1])
    position, margin = n * sample.size // ranks.size, 4 * math.isqrt(sample.size)
    low, high = sample[max(position - margin, 0)], sample[min(position + margin, sample.size - 1)]
    below = np.count_nonzero(ranks < low)
    upto_low = np.count_nonzero(ranks <= low)
    if below < n <= upto_low:
        return int(low)
    between = ranks[(ranks > low) & (ranks < high)]
    if upto_low < n <= upto_low + between.size:
        return int(np.partition(between, n - upto_low - 1)[n - upto_low - 1])
    if upto_low + between.size < n <= np.count_nonzero(ranks <= high):
        return int(high)
    return int(np.partition(ranks, n - 1)[n - 1])  # the sample misled, as it may
