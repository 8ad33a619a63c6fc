"""By which metric a search judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.data import Evaluation, validate_metrics
from segopt_callbacks.records import choose_monitor

_EXAMPLES = 8  # that an untrained model answers, to see what its metrics are called


def choose_metric(
    build_model: Callable[..., Any],
    val: Any,
    metrics: Mapping[str, Any] | None,
    monitor: str | None,
    higher_is_better: bool | None,
) -> tuple[str, bool]:
    """The metric that counts, and whether more of it is better.

    Args:
        build_model: returns a compiled model, whose metrics count where the user names none.
        val: the validation data.
        metrics: name -> Keras metric.
        monitor: one of them.
        higher_is_better: `None` to tell by its name.

    Raises:
        ValueError: if there is no metric, or several and no monitor.
    """
    validate_metrics(metrics)
    names = list(metrics) if metrics is not None else _compiled(build_model(), val)
    if not names:
        raise ValueError(
            "A search needs a metric to judge files by; compile the model with metrics, or pass metrics={name: Keras "
            "metric}. Received: neither."
        )
    return choose_monitor(names, monitor, higher_is_better)


def _compiled(model: Any, val: Any) -> list[str]:
    """The metrics that a model was compiled with, by the names that `evaluate` gives them."""
    if not compat.CompiledMetrics(model):
        return []
    return [name for name in Evaluation(model, val, max_examples=_EXAMPLES).run() if not name.endswith("loss")]
