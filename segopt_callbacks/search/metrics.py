"""By which metric a search judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.data import validate_metrics
from segopt_callbacks.records import choose_monitor


def choose_metrics(
    build_model: Callable[..., Any],
    metrics: Mapping[str, Any] | None,
    monitor: str | None,
    higher_is_better: bool | None,
) -> tuple[dict[str, Any], str, bool]:
    """The metrics of files, the one that counts, and whether more of it is better.

    Args:
        build_model: returns a compiled model, whose metrics are taken where the user names none.
        metrics: name -> Keras metric.
        monitor: one of them.
        higher_is_better: `None` to tell by its name.

    Raises:
        ValueError: if there is no metric, or several and no monitor.
    """
    validate_metrics(metrics)
    found = dict(metrics) if metrics else _compiled(build_model())
    if not found:
        raise ValueError(
            "A search needs a metric to judge files by; pass metrics={name: Keras metric}, or compile the model with "
            "metric objects. Received: neither."
        )
    return found, *choose_monitor(list(found), monitor, higher_is_better)


def _compiled(model: Any) -> dict[str, Any]:
    """The metric objects with which a model was compiled; their names alone would be resolved by Keras in the model."""
    given = compat.compiled_metrics(model) or []
    flat = list(given.values()) if isinstance(given, Mapping) else list(given)
    return {one.name: one for one in flat if callable(getattr(one, "update_state", None))}
