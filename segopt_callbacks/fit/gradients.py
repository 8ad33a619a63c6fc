"""What the steps of a fit say about weights through their gradients: recorded inside the compiled step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat


class GradientRecord:
    """One number for each weight, from the gradients of the loss; four bytes per weight.

    Saliency is `|weight * gradient|`, the first-order change of the loss if the weight is set to zero (Molchanov et al.
    2017, https://arxiv.org/abs/1611.06440), summed over the steps since the last `clear`. The gradient's magnitude is
    that of the last step alone, of pruned weights too.

    Args:
        model: compiled with an optimizer.
        weights: path -> variable.
        keeps_saliency: whether to sum up saliency, or to keep the last gradient's magnitude.
    """

    def __init__(self, model: Any, weights: dict[str, Any], *, keeps_saliency: bool) -> None:
        self._keeps_saliency = keeps_saliency
        with compat.strategy_scope(model):
            self._steps = self._variable(())
            self._records = {path: self._variable(tuple(weight.shape)) for path, weight in weights.items()}
        self._paths = {id(compat.raw_variable(weight)): path for path, weight in weights.items()}
        self.detach = compat.watch_gradients(model, self._record)

    @staticmethod
    def _variable(shape: tuple[int, ...]) -> tf.Variable:
        # Each replica sees the gradients of its own part of the batch.
        return tf.Variable(tf.zeros(shape), trainable=False, aggregation=tf.VariableAggregation.MEAN, name="record")

    def _record(self, gradients: list[tuple[Any, Any]]) -> None:
        self._steps.assign_add(1.0)
        for gradient, variable in gradients:
            path = self._paths.get(id(compat.raw_variable(variable)))
            if path is None or gradient is None:
                continue
            gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
            if self._keeps_saliency:
                weight = tf.cast(tf.convert_to_tensor(variable), tf.float32)
                self._records[path].assign_add(tf.abs(weight * gradient))
            else:
                self._records[path].assign(tf.abs(gradient))

    def read(self, paths: Iterable[str]) -> dict[str, np.ndarray] | None:
        """Path -> one number for each weight, float32; `None` before the first step."""
        if not compat.read(self._steps):
            return None
        return {path: compat.read(self._records[path]) for path in paths}

    def clear(self, paths: Iterable[str]) -> None:
        """Begins anew for some weights, whose masks have just been chosen."""
        for path in paths:
            self._records[path].assign(tf.zeros_like(self._records[path]))
