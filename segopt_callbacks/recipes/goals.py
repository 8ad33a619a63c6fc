"""What each goal asks for: settings that were chosen by measuring, in fractions of the training. Plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from segopt_callbacks.rules import require_flag, require_fraction

KEPT, KNOWN = 0.035, 490_000  # the least fraction of weights that a network of so many was found to bear
Goal = Literal["balanced", "smallest", "fastest"]


@dataclass(frozen=True)
class Recipe:
    """How a model is compressed while it trains, and what is exported.

    Attributes:
        sparsity: fraction of zeros in the kernels, in [0, 1); 0 prunes nothing; `None` for as many as the number of
            weights allows, see `sparsity_by_size`.
        kept: without `sparsity`, the fraction of weights that a network of 0.49M keeps, in (0, 1].
        in_pairs: whether zeros come in pairs of neighbouring input channels, which lie side by side in a file.
        in_channels: whether whole channels are pruned, which leave the files. `sparsity` is then a fraction of the time
            that they can save here.
        prune_begin: fraction of the training, in [0, 1], at which pruning begins.
        prune_end: fraction at which the sparsity is reached.
        num_bits: of kernels, 8 or 4; `None` trains nothing against rounding.
        round_begin: fraction from which on training computes with rounded kernels and tensors.
        hold_at: fraction from which ranges and the statistics of normalisations are held.
        formats: of the files.
    """

    sparsity: float | None
    in_pairs: bool
    num_bits: Literal[4, 8] | None
    formats: tuple[Any, ...]
    kept: float = KEPT
    in_channels: bool = False
    prune_begin: float = 0.1
    prune_end: float = 0.6
    round_begin: float = 0.6
    hold_at: float = 0.8

    def __post_init__(self) -> None:
        if self.sparsity is not None:
            require_fraction("sparsity", self.sparsity, "zeros", high=")")
        require_fraction("kept", self.kept, "the weights", low="(")
        for name in ("prune_begin", "prune_end", "round_begin", "hold_at"):
            require_fraction(name, getattr(self, name), "the training")
        for name in ("in_pairs", "in_channels"):
            require_flag(name, getattr(self, name))
        if self.in_channels and (self.in_pairs or self.sparsity is None):
            raise ValueError(
                "Whole channels are no pairs, and how many can go does not follow from the number of weights; give "
                f"`in_pairs=False` and a `sparsity`. Received: in_pairs={self.in_pairs}, sparsity={self.sparsity}."
            )

    def __str__(self) -> str:
        """In words; moments are fractions of the training."""
        share, bound = ("", ", as many as the number of weights allows")
        if self.sparsity is not None:
            share, bound = (f"{self.sparsity:.1%} ", "")
        what = "of the time that channels can save" if self.in_channels else "zeros"
        pairs = " in pairs of input channels" if self.in_pairs else ""
        when = f"between {self.prune_begin:g} and {self.prune_end:g} of the training"
        told = [] if self.sparsity == 0 else [f"{share}{what}{pairs} {when}{bound}"]
        if self.num_bits is not None:
            told.append(f"{self.num_bits} bits for kernels and 8 for tensors from {self.round_begin:g} on")
            told.append(f"ranges and statistics held from {self.hold_at:g} on")
        return "; ".join(told) or "nothing but the export"


def sparsity_by_size(weights: int, kept: float = KEPT) -> float:
    """The fraction of zeros for a network of so many weights in its kernels, as hard on it as on one of 0.49M.

    Of 0.49M weights and more `kept` are kept. Small networks have less to spare: of fewer weights
    `kept * (0.49M / weights) ** 0.4`. That is a line through what two U-Nets, of 31,000 and 490,000 weights, were found
    to bear on land cover. More weights bear no more: 7.8M lose 0.006 on Dubai with 96.5% (docs/recipes.md).

    >>> [round(sparsity_by_size(size), 3) for size in (1_000, 31_000, 500_000, 8_000_000)]
    [0.583, 0.894, 0.965, 0.965]
    >>> round(sparsity_by_size(38_000, kept=0.2), 3)
    0.444
    """
    return 1 - min(kept * max(KNOWN / max(weights, 1), 1) ** 0.4, 1)


GOALS: dict[Goal, Recipe] = {
    # An integer file as good as the dense float model.
    "balanced": Recipe(sparsity=None, kept=0.2, in_pairs=False, num_bits=4, formats=("int8",)),
    # The fewest bytes after gzip, about 0.005 of mIoU worse; `int4` is no faster than float32.
    "smallest": Recipe(sparsity=None, in_pairs=True, num_bits=4, formats=("int4", "dynamic_int8")),
    # The least time of a wide network, whose channels leave the files.
    "fastest": Recipe(
        sparsity=2 / 3, in_pairs=False, in_channels=True, num_bits=None, formats=("int8", "openvino_int8")
    ),
}
