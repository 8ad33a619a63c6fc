"""The range of a tensor's values: observed while the model trains, perhaps learned from then on, and held."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.quantization.fake_quant import extremes, quantized_activation
from segopt_callbacks.quantization.learned_ranges import learned_activation, moved, signals

SLOWEST = 0.01  # share of one step in the average, once a hundred have been seen


class Range:
    """The lowest and the highest value of a tensor, averaged over training steps (Jacob et al. 2018, section 3.1).

    The first hundred steps have equal shares; from then on each has one of a hundredth, and older ones fade.

    Args:
        state: `(5,)`, see `state`, or its first three; default: nothing seen.
        is_fixed: whether it never changes.
        is_learned: whether `learned` will be called. Tapes then watch the range, so that its gradient is taken even
            where no weight stands before it.
    """

    def __init__(self, state: Any = None, *, is_fixed: bool = False, is_learned: bool = False) -> None:
        self._is_fixed = is_fixed
        start = _whole_state(np.zeros(3) if state is None else state)
        self._state = (
            tf.constant(start)
            if is_fixed
            else tf.Variable(start, trainable=is_learned, aggregation=tf.VariableAggregation.MEAN, name="range")
        )

    def observe(self, values: tf.Tensor) -> None:
        """Takes the values of one step into the average."""
        if self._is_fixed:
            return
        low, high = extremes(tf.stop_gradient(values))
        state = tf.convert_to_tensor(self._state)
        rate = tf.maximum(1.0 / (state[2] + 1.0), SLOWEST)
        bounds = state[:2] + rate * (tf.stack([low, high]) - state[:2])
        self._state.assign(tf.concat([bounds, state[2:3] + 1.0, bounds], 0))

    def rounded(self, values: tf.Tensor) -> tf.Tensor:
        """The values as 8 bits of this range give them."""
        state = tf.convert_to_tensor(self._state)
        return quantized_activation(values, state[0], state[1])

    def learned(self, values: tf.Tensor) -> tf.Tensor:
        """The rounded values; each time that their gradient is taken, the range makes one step against its own."""
        return learned_activation(values, tf.convert_to_tensor(self._state), self._learn)

    def _learn(self, ends: tf.Tensor, upstream: tf.Tensor) -> None:
        state = tf.convert_to_tensor(self._state)
        bounds = moved(state[:2], signals(ends, upstream), state[4] - state[3])
        self._state.assign(tf.concat([bounds, state[2:]], 0))

    def read(self) -> tuple[float, float] | None:
        """Lowest and highest value; `None` where nothing was seen."""
        low, high, count = self.state.tolist()[:3]
        return (low, high) if count else None

    @property
    def was_learned(self) -> bool:
        """Whether it is another one than was observed."""
        state = self.state
        return not np.array_equal(state[:2], state[3:])

    @property
    def state(self) -> np.ndarray:
        """`(5,)` lowest value, highest value, steps seen, and both values as they were last observed."""
        return np.asarray(self._state) if self._is_fixed else compat.read(self._state)

    @state.setter
    def state(self, state: Any) -> None:
        """Goes on from another state, or the first three numbers of one, on every replica."""
        self._state.assign(_whole_state(state))


def _whole_state(state: Any) -> np.ndarray:
    """A state with all of its numbers: what is known by the first three was observed."""
    state = np.asarray(state, np.float32)
    return np.concatenate([state, state[:2]]) if state.size == 3 else state
