"""What figures stand beside: the dense model's in a report, the first run's in a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from segopt_callbacks.pages.best import FLOAT_BYTES
from segopt_callbacks.pages.entries import Report, Row
from segopt_callbacks.pages.figures import three_digits

SIZES = ("bytes", "gzip_bytes")
_DENSE = "of dense"


@dataclass(frozen=True)
class Base:
    """The other figures.

    Attributes:
        name: what stands behind a ratio, such as `"of dense"`.
        metrics: name -> value.
        sizes: key of `FIGURES` -> bytes.
        latency: key of `LATENCIES` -> milliseconds.
    """

    name: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, float] = field(default_factory=dict)

    def of_metric(self, name: str, value: float | None) -> str | None:
        """The difference, with its sign.

        >>> Base("of dense", metrics={"mIoU": 0.75}).of_metric("mIoU", 0.7)
        '-0.0500'
        """
        other = self.metrics.get(name)
        return None if value is None or other is None else f"{round(value - other, 4) + 0.0:+.4f}"

    def of_size(self, key: str, value: float | None) -> str | None:
        """The ratio, and what it is of."""
        other = self.sizes.get(key)
        return None if value is None or not other else f"{three_digits(value / other)} {self.name}"

    def of_latency(self, key: str, value: float) -> str | None:
        """The ratio, and what it is of."""
        other = self.latency.get(key)
        return f"{three_digits(value / other)} {self.name}" if other else None


def beside_dense(report: Report) -> list[Base | None]:
    """For each row of a report, the dense model: metrics of the first baseline, and float32 weights without gzip.

    Where there is no baseline, the metrics are those of the model in memory.
    """
    metrics = next((row.metrics for row in report.rows if row.kind != "format" and row.metrics), {})
    dense = FLOAT_BYTES * report.parameters if report.parameters else 0
    base = Base(_DENSE, metrics, dict.fromkeys(SIZES, dense))
    return [None if row.metrics is metrics else base for row in report.rows]


def beside_run(rows: tuple[Row, ...], first: tuple[Row, ...]) -> list[Base | None]:
    """For each row of a run, the row of the same name of the first one."""
    others = {(row.kind, row.name): row for row in first if not row.error}
    found: list[Base | None] = []
    for row in rows:
        other = others.get((row.kind, row.name))
        times = {key: time.median for key, time in other.latency.items()} if other else {}
        found.append(Base("times", other.metrics, other.figures, times) if other else None)
    return found
