"""One trial's settings -> the callbacks of its fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from segopt_callbacks.clustering import ClusterOnTrainEndCallback, ClusterScheduleCallback
from segopt_callbacks.fit import step_by_fraction
from segopt_callbacks.pruning import PruningScheduleCallback, block, ramp_by_fraction
from segopt_callbacks.quantization import QuantizationAwareTrainingCallback

_PRUNE_BEGIN = 0.1  # fraction of the training, as in every row of docs/compression.md
_DENSE = "float32"


@dataclass(frozen=True)
class Settings:
    """How a model is compressed while it trains. Moments are fractions of the training, in [0, 1].

    Attributes:
        sparsity: fraction of zeros over all kernels, in [0, 1); 0 for no pruning.
        pattern: `"none"` (each weight by itself) or `"pairs"` (of neighbouring input channels).
        distribution: `"erk"` or `"uniform"`.
        prune_end: when the sparsity is reached.
        bits: of the file's weights: 8 (`int8`), 4 (`int4`), or 32 for the dense `float32` file.
        quantize_begin: when training against that rounding begins; `None` for not at all.
        clusters: most distinct values in each weight; `None` for no clustering.
        cluster_begin: when weights begin to share values; 1 is when training ends.
        width: factor of the network's width; `None` where the builder takes none.

    Example:
        >>> print(Settings(sparsity=0.965, pattern="pairs", bits=4, quantize_begin=0.6).told())
        96.5% zeros in pairs (erk, until 0.6), 4 bits from 0.6 on
    """

    sparsity: float = 0.0
    pattern: str = "none"
    distribution: str = "erk"
    prune_end: float = 0.6
    bits: int = 32
    quantize_begin: float | None = None
    clusters: int | None = None
    cluster_begin: float = 1.0
    width: float | None = None

    @property
    def format(self) -> str:
        """The file that is made."""
        return {8: "int8", 4: "int4"}.get(self.bits, _DENSE)

    def as_dict(self) -> dict[str, Any]:
        """Name -> value, for JSON; settings that have no effect here are left out."""
        silent = set() if self.sparsity else {"pattern", "distribution", "prune_end"}
        silent |= set() if self.clusters else {"cluster_begin"}
        return {name: one for name, one in asdict(self).items() if one is not None and name not in silent}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Settings:
        """What `as_dict` has told."""
        return cls(**told)

    def callbacks(self) -> list[Any]:
        """The callbacks that compress."""
        chosen: list[Any] = []
        if self.sparsity:
            schedule = ramp_by_fraction(self.sparsity, _PRUNE_BEGIN, self.prune_end)
            pattern = block(2, 1) if self.pattern == "pairs" else None
            chosen.append(PruningScheduleCallback(schedule, pattern=pattern, distribution=self.distribution))  # type: ignore[arg-type]
        if self.clusters and self.cluster_begin < 1:
            chosen.append(ClusterScheduleCallback(self.clusters, begin_step=step_by_fraction(self.cluster_begin)))
        elif self.clusters:
            chosen.append(ClusterOnTrainEndCallback(self.clusters))
        if self.quantize_begin is not None:
            begin_step = step_by_fraction(self.quantize_begin)
            chosen.append(QuantizationAwareTrainingCallback(begin_step=begin_step, num_bits=self.bits))
        return chosen

    def told(self) -> str:
        """The settings in words."""
        parts = [] if self.width is None else [f"width {self.width:g}"]
        if self.sparsity:
            pairs = " in pairs" * (self.pattern == "pairs")
            parts.append(f"{100 * self.sparsity:.4g}% zeros{pairs} ({self.distribution}, until {self.prune_end:g})")
        if self.clusters:
            parts.append(f"{self.clusters} values from {self.cluster_begin:g} on")
        rounding = "" if self.quantize_begin is None else f" from {self.quantize_begin:g} on"
        return ", ".join([*parts, "dense float32" if self.bits == 32 else f"{self.bits} bits{rounding}"])
