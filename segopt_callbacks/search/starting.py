"""The first trials of a search: what is known to work, see docs/compression.md."""

from __future__ import annotations

from dataclasses import replace

from segopt_callbacks.recipes import GOALS, KEPT
from segopt_callbacks.search.expected import Shapes, fitting_sparsity
from segopt_callbacks.search.settings import Settings
from segopt_callbacks.search.space import Space

_SMALLEST = GOALS["smallest"]
_RECIPES = (  # the smallest first
    Settings(
        sparsity=1 - KEPT,
        pattern="pairs" if _SMALLEST.in_pairs else "none",
        prune_end=_SMALLEST.prune_end,
        bits=_SMALLEST.num_bits or 8,
        quantize_begin=_SMALLEST.round_begin,
    ),
    Settings(sparsity=0.97, bits=8, clusters=8, cluster_begin=0.8),
    Settings(sparsity=0.9, bits=8, clusters=16, cluster_begin=0.8),
    Settings(sparsity=0.8, bits=8),
)


def first_settings(space: Space, shapes: Shapes | None = None, max_bytes: int | None = None) -> list[Settings]:
    """Recipes of the project that lie in the space, with as many zeros as the bytes ask for.

    Args:
        space: what may be chosen.
        shapes: of the kernels, where they are known.
        max_bytes: of the file through gzip, where they are bounded.

    >>> [one.sparsity for one in first_settings(Space(bits=[8]))]
    [0.97, 0.9, 0.8]
    """
    chosen = [one for one in _RECIPES if space.has(one)]
    if space.width:
        chosen = [replace(one, width=max(space.width)) for one in chosen]
    if max_bytes is not None and shapes is not None and isinstance(space.sparsity, tuple):
        low, high = space.sparsity
        chosen = [replace(one, sparsity=fitting_sparsity(shapes, one, max_bytes, low, high)) for one in chosen]
    return chosen
