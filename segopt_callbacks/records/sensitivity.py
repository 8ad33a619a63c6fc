"""How much a model loses where a single weight is compressed, and filters that spare what loses too much."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from segopt_callbacks.errors import printable
from segopt_callbacks.records.measured import Changes, Measured, about, change_text, decimals, sensitivity_table
from segopt_callbacks.records.notebook import for_notebook
from segopt_callbacks.sizes import markdown


@dataclass(frozen=True)
class Treated:
    """One weight, treated in one way, with all others as they are.

    Attributes:
        path: of the weight.
        elements: how many numbers it has.
        treatment: `"int8"`, `"int4"`, `"prune"` or `"cluster"`.
        metrics: name -> value with this weight treated; NaN where a metric has none.
        change: of the monitored metric against the untreated model.
    """

    path: str
    elements: int
    treatment: str
    metrics: Mapping[str, float]
    change: float


@dataclass(frozen=True, repr=False)
class Sensitivity:
    """What `layer_sensitivity` has measured.

    Attributes:
        monitor: name of the metric by which weights are judged.
        higher_is_better: whether more of it is better.
        untreated: name -> value of the model as it is.
        rows: one for each weight and treatment, in the model's order.
        examples: on how many everything was measured.
        sparsity: fraction of zeros, in [0, 1), that `"prune"` made.
        number_of_clusters: distinct values that `"cluster"` left.

    Example:
        >>> first = Treated("a/kernel", 8, "int8", {"iou": 0.5}, -0.25)
        >>> second = Treated("b/kernel", 9, "int8", {"iou": 0.8}, 0.05)
        >>> sensitivity = Sensitivity("iou", True, {"iou": 0.75}, (first, second), 4, 0.8, 8)
        >>> print(sensitivity.table())
        Change of iou with one weight treated (0.7500 with none; higher is better; 4 examples):
                  weights     int8
        a/kernel        8  -0.2500
        b/kernel        9  +0.0500
        >>> sensitivity.spare("int8", 0.1)
        ['^b/kernel$']
    """

    monitor: str
    higher_is_better: bool
    untreated: Mapping[str, float]
    rows: tuple[Treated, ...]
    examples: int
    sparsity: float
    number_of_clusters: int

    @property
    def treatments(self) -> tuple[str, ...]:
        """What was done to each weight."""
        return tuple(dict.fromkeys(row.treatment for row in self.rows))

    def losses(self, treatment: str) -> dict[str, float]:
        """How much worse the monitored metric gets where a weight is treated so; negative where it gets better.

        Args:
            treatment: one that was measured.

        Returns:
            path -> loss, in the metric's own unit; infinity where the metric has no value any more.

        Raises:
            ValueError: for a treatment that was not measured.
        """
        if treatment not in self.treatments:
            raise ValueError(
                f"`treatment` must be one that was measured: {', '.join(self.treatments)}; measure it as well. "
                f"Received: treatment={treatment!r}."
            )
        sign = -1.0 if self.higher_is_better else 1.0
        changes = {row.path: sign * row.change for row in self.rows if row.treatment == treatment}
        return {path: math.inf if math.isnan(change) else change + 0.0 for path, change in changes.items()}

    def spare(self, treatment: str, tolerance: float) -> list[str]:
        """The `filters` that leave out every weight that loses too much.

        Weights that were not measured are left out, too. Names that Keras numbers through a process
        (`conv2d_7/kernel`) fit the same model only, and no regex fits a weight that only a predicate takes, such as an
        embedding; a filter that fits nothing raises where it is used.

        Args:
            treatment: one that was measured.
            tolerance: largest loss of the monitored metric, in its own unit, at least 0.

        Returns:
            a regex for each weight that may be treated, for `filters` of any callback.

        Raises:
            ValueError: for an argument outside its range, or if every weight loses more.
        """
        if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 <= tolerance < math.inf:
            raise ValueError(
                f"`tolerance` must be the largest loss of {self.monitor!r}, at least 0. Received: "
                f"tolerance={tolerance!r}."
            )
        losses = self.losses(treatment)
        kept = [path for path, loss in losses.items() if loss <= tolerance]
        if not kept:
            raise ValueError(
                f"`tolerance` must leave a weight to treat; raise it above {min(losses.values()):.4g}, the least loss "
                f"of {self.monitor!r} by {treatment!r}. Received: tolerance={tolerance!r}."
            )
        return [f"^{re.escape(path)}$" for path in kept]

    def table(self) -> str:
        """The changes of the monitored metric as aligned text, a line for each weight."""
        rows = [[printable(one) for one in row] for row in changes_table(self.entry())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        told = about(self.monitor, self.untreated[self.monitor], self.higher_is_better, self.examples)
        return "\n".join([printable(f"{told}:"), *lines])

    def __repr__(self) -> str:
        weights = len({row.path for row in self.rows})
        return (
            f"Sensitivity(monitor={self.monitor!r}, treatments={self.treatments!r}, weights={weights}, "
            f"examples={self.examples})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the table, with bars."""
        changes: dict[str, list[Treated]] = {}
        for row in self.rows:
            changes.setdefault(row.path, []).append(row)
        weights = [
            Changes(path, rows[0].elements, tuple(_finite(row.change) for row in rows))
            for path, rows in changes.items()
        ]
        headings = tuple(_heading(one, self) for one in self.treatments)
        untreated = self.untreated[self.monitor]
        told = (self.monitor, self.higher_is_better, untreated, self.examples, headings, tuple(weights))
        return for_notebook(sensitivity_table(Measured(*told)))

    def entry(self) -> dict[str, Any]:
        """Everything, as `report.json` holds it: numbers are finite, or `None`."""
        weights: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            one = weights.setdefault(
                row.path, {"weight": row.path, "elements": row.elements, "metrics": {}, "change": {}}
            )
            one["metrics"][row.treatment] = {name: _finite(value) for name, value in row.metrics.items()}
            one["change"][row.treatment] = _finite(row.change)
        return {
            "monitor": self.monitor,
            "higher_is_better": self.higher_is_better,
            "untreated": self.untreated[self.monitor],
            "untreated_metrics": {name: _finite(value) for name, value in self.untreated.items()},
            "examples": self.examples,
            "treatments": [_heading(one, self) for one in self.treatments],
            "weights": list(weights.values()),
        }


def changes_markdown(entry: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown that show an entry as `Sensitivity.entry` makes it."""
    head, *body = changes_table(entry)
    head = [markdown.plain(one) for one in head]
    rule = ["---", *("---:" for _ in head[1:])]
    table = [head, rule, *([markdown.code(path), *cells] for path, *cells in body)]
    told = about(*(entry[key] for key in ("monitor", "untreated", "higher_is_better", "examples")))
    return [f"{markdown.plain(told)}:", "", *(f"| {' | '.join(row)} |" for row in table)]


def changes_table(entry: Mapping[str, Any]) -> list[list[str]]:
    """Head and rows of a table: weight, number of elements, and the change by each treatment."""
    digits = decimals(entry["untreated"])
    rows = [["", "weights", *entry["treatments"]]]
    for one in entry["weights"]:
        changes = one["change"].values()
        rows.append([one["weight"], f"{one['elements']:,}", *(change_text(change, digits) for change in changes)])
    return rows


def _heading(treatment: str, settings: Sensitivity) -> str:
    told = {"prune": f"prune {settings.sparsity:g}", "cluster": f"cluster {settings.number_of_clusters}"}
    return told.get(treatment, treatment)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
