"""How sparse was the epoch that another callback saved as the best?"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass
class _Keeper:
    callback: Any
    best: Any
    sparsity: float | None = None
    step: int = 0


class BestKept:
    """Follows the callbacks that save the best epoch only, such as `ModelCheckpoint(save_best_only=True)`.

    Args:
        callbacks: those of a fit; the others are left alone.
    """

    def __init__(self, callbacks: Iterable[Any]) -> None:
        keepers = (one for one in callbacks if getattr(one, "save_best_only", False) and hasattr(one, "best"))
        self._keepers = [_Keeper(one, one.best) for one in keepers]

    def __bool__(self) -> bool:
        return bool(self._keepers)

    def look(self, sparsity: float, step: int) -> None:
        """Notes who has saved since the last look, when the weights had `sparsity` (a fraction of zeros)."""
        for keeper in self._keepers:
            if keeper.callback.best != keeper.best:
                keeper.best, keeper.sparsity, keeper.step = keeper.callback.best, sparsity, step

    def warn(self, target: float) -> None:
        """Warns of each file that was saved below `target`, a fraction of zeros."""
        for keeper in self._keepers:
            if keeper.sparsity is not None and keeper.sparsity < target - 1e-6:
                name = type(keeper.callback).__name__
                warnings.warn(
                    f"{name} saved its best model at step {keeper.step}, at sparsity {keeper.sparsity:.4f}, where the "
                    f"fit ended at {target:.4f}: {getattr(keeper.callback, 'filepath', 'its file')} is not the pruned "
                    f"model. Let only epochs at the target sparsity count: AtTargetSparsity({name}(...)).",
                    stacklevel=2,
                )
