"""What each goal asks for: settings that were chosen by measuring, in fractions of the training. Plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Goal = Literal["balanced", "smallest"]


@dataclass(frozen=True)
class Recipe:
    """How a model is compressed while it trains, and what is exported.

    Attributes:
        sparsity: fraction of zeros in the kernels, in [0, 1); 0 prunes nothing.
        in_pairs: whether zeros come in pairs of neighbouring input channels, which lie side by side in a file.
        prune_begin: fraction of the training, in [0, 1], at which pruning begins.
        prune_end: fraction at which the sparsity is reached.
        num_bits: of kernels, 8 or 4.
        round_begin: fraction from which on training computes with rounded kernels and tensors.
        hold_at: fraction from which ranges and the statistics of normalisations are held.
        formats: of the files.
    """

    sparsity: float
    in_pairs: bool
    num_bits: Literal[4, 8]
    formats: tuple[Any, ...]
    prune_begin: float = 0.1
    prune_end: float = 0.6
    round_begin: float = 0.6
    hold_at: float = 0.8

    def __str__(self) -> str:
        """In words; moments are fractions of the training."""
        pairs = " in pairs of input channels" if self.in_pairs else ""
        zeros = (
            f"{self.sparsity:.1%} zeros{pairs}, pruned from {self.prune_begin:g} to {self.prune_end:g} of the training"
        )
        rounding = f"{self.num_bits} bits for kernels and 8 for tensors from {self.round_begin:g} on"
        told = [zeros] if self.sparsity else []
        return "; ".join([*told, rounding, f"ranges and statistics held from {self.hold_at:g} on"])


GOALS: dict[Goal, Recipe] = {
    # The fastest integer file, as good as the dense float model.
    "balanced": Recipe(sparsity=0.8, in_pairs=False, num_bits=4, formats=("int8",)),
    # The fewest bytes after gzip, at most 0.005 of mIoU worse; `int4` is no faster than float32.
    "smallest": Recipe(sparsity=0.97, in_pairs=True, num_bits=4, formats=("int4", "dynamic_int8")),
}
