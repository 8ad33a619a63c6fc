"""What the callbacks of one fit tell each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from segopt_callbacks.records import Codebook, Folded, Report, Sensitivity


class HasMask(Protocol):
    """What keeps the zeros of a weight."""

    @property
    def mask(self) -> np.ndarray:
        """bool, the weight's shape, True where a weight is kept."""


@dataclass
class Told:
    """Records that each callback of a fit writes for the others; none needs to know who has written one.

    Attributes:
        selected: path -> variable, all weights that a callback of this fit changes.
        targets: path -> fraction of zeros, in [0, 1), that the schedule asks for now.
        masked: path -> what keeps the zeros of a weight.
        codebooks: path -> what clustering has chosen for a weight, once it has.
        folds: path -> the normalization whose scale was moved into that kernel.
        ranges: name of a tensor -> its lowest and highest value, empty while they are learned; `None` where nobody
            trains against rounding.
        sensitivity: how sensitive each weight is, where that was measured.
        report: of the export, once there is one.
    """

    selected: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, float] = field(default_factory=dict)
    masked: dict[str, HasMask] = field(default_factory=dict)
    codebooks: dict[str, Codebook] = field(default_factory=dict)
    folds: dict[str, Folded] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] | None = None
    sensitivity: Sensitivity | None = None
    report: Report | None = None

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Path -> bool of the weight's shape, True where a weight is kept; of pruned weights only."""
        return {path: masked.mask for path, masked in self.masked.items()}

    @property
    def sparsity(self) -> float:
        """Fraction of zeros that the schedules ask for now, over all pruned weights, in [0, 1)."""
        sizes = {path: math.prod(self.selected[path].shape) for path in self.targets}
        return sum(self.targets[path] * size for path, size in sizes.items()) / max(sum(sizes.values()), 1)
