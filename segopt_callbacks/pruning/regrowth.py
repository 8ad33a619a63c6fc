"""Masks that give weights back: RigL (Evci et al. 2020, https://arxiv.org/abs/1911.11134). Pure NumPy."""

from __future__ import annotations

import math

import numpy as np

from segopt_callbacks.pruning.masks import layer_mask, number_of_zeros
from segopt_callbacks.pruning.patterns import UNSTRUCTURED

INITIAL_FRACTION = 0.3  # alpha of the paper
SHARE_OF_TRAINING = 0.75  # T_end of the paper, where the schedule does not say when it ends


def regrown_fraction(step: int, end_step: int) -> float:
    """The fraction of the kept weights that is exchanged at a step: `alpha / 2 * (1 + cos(pi * step / end_step))`.

    Args:
        step: optimizer steps so far.
        end_step: from here on nothing is exchanged.

    Returns:
        a fraction, `alpha = 0.3` at the beginning and 0 at the end.

    >>> [round(regrown_fraction(step, 100), 3) for step in (0, 50, 100, 150)]
    [0.3, 0.15, 0.0, 0.0]
    """
    if step >= end_step:
        return 0.0
    return INITIAL_FRACTION / 2 * (1 + math.cos(math.pi * step / end_step))


def end_of_regrowth(end_step: int | None, last_step: int | None) -> int:
    """The step from which on nothing is exchanged.

    Args:
        end_step: of the schedule; `None` if it goes on.
        last_step: of the fit; `None` where it is not known.

    Raises:
        ValueError: if neither is known.

    >>> end_of_regrowth(60, 100), end_of_regrowth(None, 100)
    (60, 75)
    """
    end_step = end_step or (None if last_step is None else round(SHARE_OF_TRAINING * last_step))
    if end_step is None:
        raise ValueError(
            "Regrowth must know when it ends; give the schedule an `end_step`, or `steps_per_epoch` to fit. "
            "Received: a schedule without an end, and data of unknown length."
        )
    return end_step


def regrown_mask(
    weights: np.ndarray,
    gradients: np.ndarray,
    sparsity: float,
    fraction: float,
    *,
    pruned: np.ndarray,
    name: str = "weights",
) -> np.ndarray:
    """Keeps the kept weights of largest magnitude, and gives back the others where the gradient is largest.

    Of the `size - round(sparsity * size)` weights that are kept afterwards, `fraction` is chosen by gradient among all
    that magnitude did not choose, those that were pruned and those that were just dropped; the rest by magnitude. A
    weight that comes back starts from zero.

    Args:
        weights: any shape, finite.
        gradients: of the loss, or their magnitudes; the same shape, of pruned weights too.
        sparsity: fraction of zeros, in [0, 1).
        fraction: of the kept weights, in [0, 1].
        pruned: the same shape, True where a weight is pruned now.
        name: of the weight, for errors.

    Returns:
        bool, the same shape, True where a weight is kept; exactly `round(sparsity * size)` are not.

    >>> weights, gradients = np.array([3.0, 2.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0, 5.0])
    >>> regrown_mask(weights, gradients, 0.5, 0.5, pruned=weights == 0)
    array([ True, False, False,  True])
    """
    kept = weights.size - number_of_zeros(weights.size, sparsity)
    by_magnitude = max(1, kept - round(fraction * kept))
    chosen = layer_mask(weights, 1 - by_magnitude / weights.size, UNSTRUCTURED, pruned=pruned, name=name)
    if kept > by_magnitude:
        grown = np.abs(gradients, dtype=np.float32).ravel()
        grown[chosen.ravel()] = -1.0
        chosen.ravel()[np.argpartition(-grown, kept - by_magnitude - 1)[: kept - by_magnitude]] = True
    return chosen
