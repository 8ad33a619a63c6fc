"""Scores, a sparsity and a pattern -> which weights stay. Pure NumPy.

Selection works on *ranks*: integers in the order in which weights are pruned. A non-negative float32 read as an integer
keeps its order, which leaves the negative integers for what goes first: what a pattern wants gone before all else, and,
lowest, what is pruned already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segopt_callbacks.arrays import for_each_block
from segopt_callbacks.pruning.patterns import UNSTRUCTURED, Pattern, Units

_PRUNED = np.iinfo(np.int32).min  # the rank of what is pruned already, so that masks nest while the sparsity grows
_KEPT = np.iinfo(np.int32).max  # the rank of what must stay
_MAGNITUDE = np.int32(np.iinfo(np.int32).max)  # every bit but the sign's
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
    return layer_mask(np.asarray(weights), sparsity, UNSTRUCTURED, pruned=pruned)


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

    Without a pattern exactly `round(sparsity * size)` weights are pruned. Of equal scores, the first in memory order
    goes first. Larger units are pruned in the number whose size is nearest to that; of two as near, in the smaller.
    Once some are pruned, more follow only where more than half a unit is missing: the same sparsity again changes
    nothing. One unit always stays. What is pruned already goes before all others, so that masks nest.

    Args:
        scores: the weight's shape, finite; their magnitudes count: the weight itself, for example.
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
    units = pattern.units(scores if pattern == UNSTRUCTURED else np.abs(scores), outputs)
    ranks = Ranks(units, pruned, name)
    kept = _keep(ranks, units.sizes, number_of_zeros(scores.size, sparsity), spared=1)
    return units.expand(_in_multiples(kept, ranks[:], pattern.multiple) if pattern.multiple > 1 else kept)


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
        scores: one array for each weight, finite; their magnitudes count.
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
    every = [pattern.units(np.abs(_normalized(one)), axes) for one, axes in zip(scores, outputs, strict=True)]
    ranks = [Ranks(units, one, name)[:] for units, one, name in zip(every, pruned, names, strict=True)]
    ranks = [np.where(np.arange(one.size) == np.argmax(one), np.int32(_KEPT), one) for one in ranks]
    of_units = [units.sizes for units in every if units.sizes is not None]  # the pattern decides: of all, or of none
    sizes = np.concatenate(of_units) if of_units else None
    zeros = number_of_zeros(sum(one.size for one in scores), sparsity)
    kept = _keep(np.concatenate(ranks), sizes, zeros, spared=len(ranks))
    parts = np.split(kept, np.cumsum([one.size for one in ranks])[:-1])
    if pattern.multiple > 1:
        parts = [_in_multiples(part, one, pattern.multiple) for part, one in zip(parts, ranks, strict=True)]
    return [units.expand(part) for units, part in zip(every, parts, strict=True)]


def _check_sparsity(sparsity: float) -> None:
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"`sparsity` must be a fraction of zeros, in [0, 1). Received: sparsity={sparsity}.")


def _normalized(scores: np.ndarray) -> np.ndarray:
    norm = math.sqrt(float(np.square(scores, dtype=np.float64).sum()))
    return scores / np.float32(norm) if norm else scores


class Ranks:
    """One int32 for each unit, in the order in which they are pruned; made anew for each slice that is asked for."""

    def __init__(self, units: Units, pruned: np.ndarray | None, name: str) -> None:
        self._bits = np.ascontiguousarray(units.scores, np.float32).view(np.int32)
        self._first = units.first
        self._pruned = None if pruned is None else units.all_of(pruned)
        self.size: int = self._bits.size
        # Of magnitudes, NaN and infinity are the largest integers.
        if max(for_each_block(lambda part: np.max(self._bits[part] & _MAGNITUDE), self.size)) > _LARGEST_FINITE:
            bad = np.count_nonzero(~np.isfinite(units.scores))
            raise ValueError(
                "Weights must be finite to be pruned; lower the learning rate, or clip the gradients. "
                f"Received: {name}, {bad} of {self.size} values NaN or infinite."
            )

    def __getitem__(self, part: slice) -> np.ndarray:
        ranks = self._bits[part] & _MAGNITUDE
        if self._first is not None:
            ranks = np.where(self._first[part], ranks + (_PRUNED + 1), ranks)
        if self._pruned is None:
            return ranks
        pruned = self._pruned[part].astype(np.int32)
        if self._first is not None:
            ranks &= pruned - 1
        pruned <<= 31
        pruned |= ranks  # negative where it is 1; np.where takes ten times as long
        return pruned


def _keep(ranks: Ranks | np.ndarray, sizes: np.ndarray | None, zeros: int, *, spared: int) -> np.ndarray:
    """One bool for each unit, False for the lowest ranks.

    `zeros` counts weights, `sizes` those of each unit; the `spared` units of highest rank stay in any case.
    """
    if sizes is not None:
        return _keep_units(ranks[:], sizes, zeros, spared=spared)
    zeros = min(zeros, ranks.size - spared)
    if not zeros:
        return np.ones(ranks.size, bool)
    threshold, kept = _nth_smallest(ranks, zeros), np.empty(ranks.size, bool)

    def keep_above(part: slice) -> np.ndarray:
        block = ranks[part]
        np.greater(block, threshold, out=kept[part])
        return part.start + np.flatnonzero(block == threshold)

    ties = for_each_block(keep_above, ranks.size)
    to_prune = zeros - (kept.size - np.count_nonzero(kept)) + sum(map(len, ties))
    kept[np.concatenate(ties)[to_prune:]] = True
    return kept


def _keep_units(ranks: np.ndarray, sizes: np.ndarray, zeros: int, *, spared: int) -> np.ndarray:
    order = np.argsort(ranks, kind="stable")
    pruned = np.concatenate([[0], np.cumsum(sizes[order])])[:-spared]  # by the first k units
    count = already = int(np.count_nonzero(ranks < 0))
    if not already or zeros - pruned[already] > sizes.max() / 2:  # the same sparsity again changes no mask
        count += int(np.argmin(np.abs(pruned[already:] - zeros)))
    kept = np.ones(ranks.size, bool)
    kept[order[:count]] = False
    return kept


def _in_multiples(kept: np.ndarray, ranks: np.ndarray, multiple: int) -> np.ndarray:
    """So many of the highest ranks that their number is the multiple nearest to that of `kept`; or all.

    What is pruned already stays pruned.
    """
    count, most = int(kept.sum()), kept.size
    choices = np.append(np.arange(multiple, most, multiple), most)
    count = min(choices[np.argmin(np.abs(choices - count))], int(np.count_nonzero(ranks >= 0)))
    chosen = np.zeros(kept.size, bool)
    chosen[np.argsort(ranks, kind="stable")[most - count :]] = True
    return chosen


def _nth_smallest(ranks: Ranks | np.ndarray, n: int) -> int:
    """What `np.partition` finds, several times as fast: a sample tells between which two values to look.

    Those at the two values are counted instead: np.partition takes 12 times as long where many values are equal, as
    zeros are.
    """
    sample = ranks[:: (ranks.size >> 16) | 1]
    position, margin = n * sample.size // ranks.size, 4 * math.isqrt(sample.size)
    places = max(position - margin, 0), min(position + margin, sample.size - 1)
    low, high = np.partition(sample, places)[list(places)]

    def look(part: slice) -> tuple[int, int, int, np.ndarray]:
        block = ranks[part]
        counts = (np.count_nonzero(one) for one in (block < low, block == low, block == high))
        return *counts, block[(block > low) & (block < high)]

    *counts, inside = zip(*for_each_block(look, ranks.size), strict=True)
    below, at_low, at_high = (sum(one) for one in counts)
    between = np.concatenate(inside)
    upto_low, below_high = below + at_low, below + at_low + between.size
    if below < n <= upto_low:
        return int(low)
    if upto_low < n <= below_high:
        return int(np.partition(between, n - upto_low - 1)[n - upto_low - 1])
    if below_high < n <= below_high + at_high:
        return int(high)
    return int(np.partition(ranks[:], n - 1)[n - 1])  # the sample misled, as it may
