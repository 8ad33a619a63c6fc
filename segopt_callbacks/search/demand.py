"""What a search is to find: the bounds that the user sets, and what follows from them. Pure Python."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figures:
    """What one exported file is, read from the file itself.

    Attributes:
        bytes: of the file through `gzip -9`.
        metric: of the file's own answers on the validation data.
        latency_ms: median of one inference on one thread, where it was measured.
    """

    bytes: int
    metric: float
    latency_ms: float | None = None


@dataclass(frozen=True)
class Demand:
    """The bounds, each `None` where the user sets none.

    What is not bounded is made as good as it gets. With a bound on the metric, the answer is the file of fewest bytes;
    without, it is the file of the best metric: the smallest file within `max_bytes` would be one that has learned
    nothing.

    Attributes:
        max_bytes: of the file through `gzip -9`.
        max_latency_ms: of one inference on one thread.
        min_metric: the least that the metric may be; the most, where less of it is better.
        max_metric_loss: how far the metric may be from that of the dense float32 model of the same seed.
        higher_is_better: whether more of the metric is better.

    Example:
        >>> demand = Demand(max_bytes=1000, min_metric=0.7)
        >>> {name: round(by, 2) for name, by in demand.misses(Figures(900, 0.65)).items()}
        {'metric': 0.07}
        >>> demand.meets(Figures(900, 0.7))
        True
    """

    max_bytes: int | None = None
    max_latency_ms: float | None = None
    min_metric: float | None = None
    max_metric_loss: float | None = None
    higher_is_better: bool = True

    @property
    def bounds_metric(self) -> bool:
        """Whether the metric has a bound."""
        return self.min_metric is not None or self.max_metric_loss is not None

    @property
    def needs_reference(self) -> bool:
        """Whether a dense model is to be trained for comparison."""
        return self.max_metric_loss is not None

    def needed_metric(self, dense: float | None = None) -> float | None:
        """What the metric must reach; `None` for anything.

        Args:
            dense: that of the dense model of the same seed, once it is known.
        """
        bounds = [] if self.min_metric is None else [self.min_metric]
        if self.max_metric_loss is not None and dense is not None:
            bounds.append(dense - self.max_metric_loss if self.higher_is_better else dense + self.max_metric_loss)
        return (max if self.higher_is_better else min)(bounds, default=None)

    def shortfall(self, metric: float, needed: float) -> float:
        """How far a metric is from what it must reach; 0 or less where it does."""
        return needed - metric if self.higher_is_better else metric - needed

    def misses(self, figures: Figures, dense: float | None = None) -> dict[str, float]:
        """Each bound that is not met -> by what fraction of it."""
        found = {}
        needed = self.needed_metric(dense)
        if needed is not None:
            found["metric"] = self.shortfall(figures.metric, needed) / (abs(needed) or 1.0)
        if self.max_bytes is not None:
            found["bytes"] = figures.bytes / self.max_bytes - 1
        if self.max_latency_ms is not None:
            latency = math.inf if figures.latency_ms is None else figures.latency_ms
            found["latency"] = latency / self.max_latency_ms - 1
        return {name: one for name, one in found.items() if not one <= 0}

    def meets(self, figures: Figures, dense: float | None = None) -> bool:
        """Whether a file meets every bound."""
        return not self.misses(figures, dense)

    def order(self, figures: Figures) -> tuple[float, float]:
        """Sorts files that meet the bounds, the best first."""
        metric = -figures.metric if self.higher_is_better else figures.metric
        return (figures.bytes, metric) if self.bounds_metric else (metric, figures.bytes)

    def told(self) -> str:
        """The bounds in words.

        >>> Demand(max_bytes=40_000, min_metric=0.7).told()
        'max_bytes=40,000 and min_metric=0.7'
        """
        bounds: Mapping[str, Any] = {
            "max_bytes": None if self.max_bytes is None else f"{self.max_bytes:,}",
            "max_latency_ms": self.max_latency_ms,
            "min_metric": self.min_metric,
            "max_metric_loss": self.max_metric_loss,
        }
        return " and ".join(f"{name}={value}" for name, value in bounds.items() if value is not None)


def validate_demand(
    max_bytes: Any = None, max_latency_ms: Any = None, min_metric: Any = None, max_metric_loss: Any = None
) -> None:
    """Checks the bounds before any work is done.

    Raises:
        ValueError: for a bound outside its range, or none at all.

    >>> validate_demand(max_bytes=1000)
    """
    given = {
        "max_bytes": max_bytes,
        "max_latency_ms": max_latency_ms,
        "min_metric": min_metric,
        "max_metric_loss": max_metric_loss,
    }
    if all(value is None for value in given.values()):
        raise ValueError(
            f"A search needs a bound to meet; give at least one of {', '.join(given)}. Received: none of them."
        )
    for name, value in given.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not is_number:
            raise ValueError(f"`{name}` must be a finite number, or None. Received: {name}={value!r}.")
    if max_bytes is not None and (max_bytes < 1 or max_bytes != int(max_bytes)):
        raise ValueError(
            "`max_bytes` must be a whole number of bytes (after gzip -9), at least 1; 40 kB are 40_000. "
            f"Received: max_bytes={max_bytes!r}."
        )
    if max_latency_ms is not None and max_latency_ms <= 0:
        raise ValueError(
            f"`max_latency_ms` must be a number of milliseconds above 0. Received: max_latency_ms={max_latency_ms!r}."
        )
    if max_metric_loss is not None and max_metric_loss < 0:
        raise ValueError(
            "`max_metric_loss` must be a distance from the dense model's metric, at least 0, whichever way is better. "
            f"Received: max_metric_loss={max_metric_loss!r}."
        )
