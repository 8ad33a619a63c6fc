"""The range of a tensor's values: observed while the model trains, then held."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.fake_quant import extremes, quantized_activation

SLOWEST = 0.01  # share of one step in the average, once a hundred have been seen


class Range:
    """The lowest and the highest value of a tensor, averaged over training steps (Jacob et al. 2018, section 3.1).

    The first hundred steps have equal shares; from then on each has one of a hundredth, and older ones fade.

    Args:
        state: `(3,)` lowest value, highest value, steps seen; default: nothing seen.
        is_fixed: whether it never changes.
    """

    def __init__(self, state: np.ndarray | None = None, *, is_fixed: bool = False) -> None:
        self._is_fixed = is_fixed
        start = np.zeros(3, np.float32) if state is None else np.asarray(state, np.float32)
        self._state = (
            tf.constant(start)
            if is_fixed
            else tf.Variable(start, trainable=False, aggregation=tf.VariableAggregation.MEAN, name="range")
        )

    def observe(self, values: tf.Tensor) -> None:
        """Takes the values of one step into the average."""
        if self._is_fixed:
            return
        low, high = extremes(tf.stop_gradient(values))
        state = tf.convert_to_tensor(self._state)
        rate = tf.maximum(1.0 / (state[2] + 1.0), SLOWEST)
        bounds = state[:2] + rate * (tf.stack([low, high]) - state[:2])
        self._state.assign(tf.concat([bounds, state[2:] + 1.0], 0))

    def rounded(self, values: tf.Tensor) -> tf.Tensor:
        """The values as 8 bits of this range give them."""
        state = tf.convert_to_tensor(self._state)
        return quantized_activation(values, state[0], state[1])

    def read(self) -> tuple[float, float] | None:
        """Lowest and highest value; `None` where nothing was seen."""
        low, high, count = self.state.tolist()
        return (low, high) if count else None

    @property
    def state(self) -> np.ndarray:
        """`(3,)` lowest value, highest value, steps seen."""
        return np.asarray(self._state) if self._is_fixed else compat.read(self._state)

    @state.setter
    def state(self, state: Any) -> None:
        """Goes on from another state, on every replica."""
        self._state.assign(np.asarray(state, np.float32))
