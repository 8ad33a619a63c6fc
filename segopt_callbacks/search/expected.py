"""How many bytes a file will have, told before it is trained. Pure NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from segopt_callbacks.pruning import distribute
from segopt_callbacks.search.settings import Settings

Shapes = Sequence[tuple[int, ...]]
_FEW = 3  # finished trials, before they tell what overhead a file has
_CERTAIN = 0.6  # of the ideal: values are not evenly spread, which a coder uses
_TYPICAL = 1.85  # gzip takes 1.6 to 1.8 times the ideal of the pruned files of docs/compression.md
_HALVINGS = 30


def ideal_bytes(shapes: Shapes, settings: Settings) -> float:
    """What an ideal coder needs for the kernels of a file, were their values evenly spread, and its biases.

    Where the zeros are takes `n * H(sparsity)` bits, with `H` the entropy of a coin, for `n` weights (or pairs of
    them); each weight that stays takes its bits, or the logarithm of the number of shared values.

    Args:
        shapes: of the kernels, output channels last.
        settings: how they are compressed.

    Example:
        >>> dense = Settings(bits=8)
        >>> ideal_bytes([(3, 3, 64, 64)], dense), round(ideal_bytes([(3, 3, 64, 64)], replace(dense, sparsity=0.9)))
        (37120.0, 6103)
    """
    sparsities = distribute(shapes, settings.sparsity, settings.distribution)
    values = (
        settings.bits if settings.clusters is None else min(math.log2(max(settings.clusters - 1, 2)), settings.bits)
    )
    together = 2 if settings.pattern == "pairs" else 1
    bits = 0.0
    for shape, sparsity in zip(shapes, sparsities, strict=True):
        size = math.prod(shape)
        bits += size / together * _entropy(sparsity) + size * (1 - sparsity) * values + 32 * shape[-1]
    return bits / 8


def _entropy(fraction: float) -> float:
    parts = (one for one in (fraction, 1 - fraction) if one > 0)
    return -sum(one * math.log2(one) for one in parts)


def least_bytes(ideal: float, finished: Sequence[tuple[float, int]]) -> float:
    """The fewest bytes that a file may turn out to have.

    Once three trials have finished: as much above its ideal as the one of them that was nearest to its own. What lies
    above it, graph and scales and what gzip is from an ideal coder, grows with the file; so this is a low estimate.

    Args:
        ideal: of the file.
        finished: ideal and true bytes of each finished trial.

    >>> least_bytes(1000.0, []), least_bytes(1000.0, [(500.0, 900), (2000.0, 3000), (100.0, 450)])
    (600.0, 1350.0)
    """
    if len(finished) < _FEW:
        return _CERTAIN * ideal
    return ideal + min(true - one for one, true in finished)


def fitting_sparsity(shapes: Shapes, settings: Settings, max_bytes: int, low: float, high: float) -> float:
    """The sparsity in [low, high] by which a file will typically have `max_bytes`.

    >>> fitting_sparsity([(3, 3, 64, 64)], Settings(bits=4, pattern="pairs"), 4000, 0.5, 0.98)
    0.9383
    """
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fits = _TYPICAL * ideal_bytes(shapes, replace(settings, sparsity=middle)) <= max_bytes
        low, high = (low, middle) if fits else (middle, high)
    return round(high, 4)
