"""The metrics that a model was compiled with, as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from segopt_callbacks.compat.kerases import is_keras_2


class CompiledMetrics:
    """What `evaluate` tells of a model beside its loss, in the form of a Keras metric: `result` has a value for each.

    Args:
        model: compiled.
    """

    def __init__(self, model: Any) -> None:
        self._is_keras_2 = is_keras_2(model)
        self.container: Any = getattr(model, "compiled_metrics" if self._is_keras_2 else "_compile_metrics", None)

    def __bool__(self) -> bool:
        """Whether there are any."""
        if self.container is None:
            return False
        names = ("_user_metrics", "_user_weighted_metrics")
        return any(getattr(self.container, name, None) for name in names)

    @property
    def variables(self) -> list[Any]:
        """Their states; none before the first update."""
        if self._is_keras_2:
            return [variable for metric in self.container.metrics for variable in metric.variables]
        return list(self.container.variables)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch."""
        if self._is_keras_2:  # it takes no arrays
            y_true, sample_weight = tf.nest.map_structure(_tensor, (y_true, sample_weight))
        self.container.update_state(y_true, y_pred, sample_weight=sample_weight)

    def reset_state(self) -> None:
        """Begins anew."""
        self.container.reset_state()

    def result(self) -> Mapping[str, Any]:
        """Name -> value, as `evaluate` names them."""
        if self._is_keras_2:
            return {metric.name: metric.result() for metric in self.container.metrics}
        return self.container.result()


def _tensor(value: Any) -> Any:
    return None if value is None else tf.convert_to_tensor(value)
