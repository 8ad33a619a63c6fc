"""One set of Keras metrics, computed for many artifacts at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.errors import first_line


def validate_metrics(metrics: Mapping[str, Any] | None) -> None:
    """Checks metrics before any work is done.

    Raises:
        ValueError: unless it is `None` or maps names to Keras metrics.

    Example:
        >>> validate_metrics({"accuracy": compat.keras.metrics.SparseCategoricalAccuracy()})
    """
    if metrics is None:
        return
    if not isinstance(metrics, Mapping):
        raise ValueError(f"`metrics` must map names to Keras metrics. Received: {type(metrics).__name__}.")
    for name, metric in metrics.items():
        if not all(callable(getattr(metric, one, None)) for one in ("update_state", "result", "reset_state")):
            raise ValueError(
                f"`metrics` must map names to Keras metrics (instances, not classes or strings). Received: {name!r}: "
                f"{metric!r}."
            )
        if isinstance(metric, type):
            raise ValueError(f"`metrics` must hold instances; call {metric.__name__}(). Received: {name!r}: a class.")


def metrics_or_compiled(metrics: Mapping[str, Any] | None, model: Any) -> Mapping[str, Any]:
    """What answers are judged by: the given metrics, or without any those that the model was compiled with."""
    if metrics is not None:
        return metrics
    compiled = compat.CompiledMetrics(model)
    return {"the compiled metrics": compiled} if compiled else {}


class MetricStates:
    """The user's metrics, with a state for each artifact; a context that puts the user's own state back.

    Compiled metrics that do not take the data are left out with a warning; of given ones it is an error.

    Args:
        metrics: name -> Keras metric, or `compat.CompiledMetrics`.

    Example:
        >>> metric = compat.keras.metrics.SparseCategoricalAccuracy()
        >>> with MetricStates({"accuracy": metric}) as states:
        ...     states.update("good", np.array([1]), np.array([[0.1, 0.9]]))
        ...     states.update("bad", np.array([1]), np.array([[0.9, 0.1]]))
        ...     states.result("good"), states.result("bad")
        ({'accuracy': 1.0}, {'accuracy': 0.0})
    """

    def __init__(self, metrics: Mapping[str, Any]) -> None:
        self._metrics = dict(metrics)
        self._states: dict[tuple[str, str], list[np.ndarray]] = {}
        self._own: dict[str, list[np.ndarray]] = {}

    def __enter__(self) -> MetricStates:
        self._own = {name: _read(metric) for name, metric in self._metrics.items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, metric in self._metrics.items():
            metric.reset_state()
            _write(metric, self._own[name])

    def update(self, artifact: str, y: Any, answers: Any, sample_weight: Any = None) -> None:
        """Counts one batch of an artifact's answers; weighted as Keras' `weighted_metrics` are. No `y`, no count."""
        if y is None:
            return
        answers = tf.nest.map_structure(tf.convert_to_tensor, answers)
        for name, metric in list(self._metrics.items()):
            self._restore(artifact, name)
            try:
                metric.update_state(y, answers, sample_weight=sample_weight)
            except compat.converter_errors() as error:
                if not isinstance(metric, compat.CompiledMetrics):
                    raise
                self._leave_out(name, error)
                continue
            self._states[artifact, name] = _read(metric)

    def result(self, artifact: str) -> dict[str, Any]:
        """Name -> number, list of numbers (a value per class) or dict of them (`None` for NaN); empty without any."""
        results: dict[str, Any] = {}
        for name, metric in self._metrics.items():
            if (artifact, name) in self._states:
                self._restore(artifact, name)
                result = _plain(metric.result())
                results |= result if isinstance(metric, compat.CompiledMetrics) else {name: result}
        return results

    def _leave_out(self, name: str, error: BaseException) -> None:
        metric = self._metrics.pop(name)
        metric.reset_state()
        _write(metric, self._own[name])
        warnings.warn(
            "Files are not judged by the compiled metrics, which do not take `evaluation_data`; pass `metrics`. They "
            f"raised: {first_line(error)}",
            stacklevel=2,
        )

    def _restore(self, artifact: str, name: str) -> None:
        metric = self._metrics[name]
        metric.reset_state()
        _write(metric, self._states.get((artifact, name), []))


def _read(metric: Any) -> list[np.ndarray]:
    return [compat.read(variable) for variable in metric.variables]


def _write(metric: Any, state: list[np.ndarray]) -> None:
    # A metric that makes its variables at the first update has none to restore before it.
    for variable, value in zip(metric.variables, state, strict=False):
        compat.assign(variable, value)


def _plain(result: Any) -> Any:
    if isinstance(result, Mapping):
        return {str(name): _plain(value) for name, value in result.items()}
    return _finite(np.asarray(result).astype(float).tolist())


def _finite(value: Any) -> Any:
    # JSON has no NaN; a class that never occurs has no score.
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value if np.isfinite(value) else None
