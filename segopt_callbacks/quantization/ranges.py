"""The range of a tensor's values: observed while the model trains, perhaps learned from then on, and held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.quantization.fake_quant import extremes, quantized_activation
from segopt_callbacks.quantization.learned_ranges import learned_activation, moved, signals

Limit = Callable[[tf.Tensor, tf.Tensor], tuple[Any, Any]]
SLOWEST = 0.01  # share of one step in the average, once a hundred have been seen
OUTWARD = 0.5  # of one of the first hundred steps whose values reach beyond the range, at least
FEW = 10_000  # values: fewer of one step do not show how far the others reach
FADES = 0.001  # share of one step in the end, where the range is to hold whatever was seen


def _unlimited(low: tf.Tensor, high: tf.Tensor) -> tuple[Any, Any]:
    return low, high


class Range:
    """The lowest and the highest value of a tensor, averaged over training steps (Jacob et al. 2018, section 3.1).

    The first hundred steps have equal shares; from then on each has one of a hundredth, and older ones fade. An end
    that one of the first hundred reaches beyond moves half the way at once. For the values of a young model grow faster
    than an average, and what is beyond its range is cut off in the file.

    An average of what single steps reach is less than what all of them reach, the more so the fewer values a step has.
    So a model's answers, and tensors of few values, are held whole: an end moves all the way outward, and fades slowly.
    What is to be learned is averaged: its own gradient widens it.

    Several replicas share the mean of their ranges, so that an end moves outward in some steps, not in one.

    Args:
        state: `(6,)`, see `state`, or its first three or five; default: nothing seen.
        is_fixed: whether it never changes.
        is_learned: whether `learned` will be called. Tapes then watch the range, so that its gradient is taken even
            where no weight stands before it.
    """

    def __init__(self, state: Any = None, *, is_fixed: bool = False, is_learned: bool = False) -> None:
        self._is_fixed = is_fixed
        self._is_learned = is_learned
        start = _whole_state(np.zeros(3) if state is None else state)
        self._state = (
            tf.constant(start)
            if is_fixed
            else tf.Variable(start, trainable=is_learned, aggregation=tf.VariableAggregation.MEAN, name="range")
        )

    def observe(self, values: tf.Tensor, limit: Limit = _unlimited, *, is_answer: bool = False) -> None:
        """Takes the values of one step into the average; where they are not finite, counts that and nothing else.

        Args:
            values: floating, any shape.
            limit: from the lowest and highest value to those that are taken.
            is_answer: whether they are what the model answers, of which nothing is to be cut off.
        """
        if self._is_fixed:
            return
        least, greatest = limit(*extremes(tf.stop_gradient(values)))
        is_whole = tf.logical_and(not self._is_learned, tf.logical_or(is_answer, tf.size(values) < FEW))
        self._state.assign(_observed(tf.stop_gradient(tf.convert_to_tensor(self._state)), least, greatest, is_whole))

    @property
    def bounds(self) -> Any:
        """`(2,)` lowest and highest value: a NumPy array where they never change, else a tensor."""
        return np.asarray(self._state)[:2] if self._is_fixed else tf.convert_to_tensor(self._state)[:2]

    @property
    def spoiled(self) -> int:
        """How many steps had values that were not finite."""
        return int(self.state[5])

    def rounded(self, values: tf.Tensor) -> tf.Tensor:
        """The values as 8 bits of this range give them."""
        low, high, *_ = tf.unstack(tf.convert_to_tensor(self._state))
        return quantized_activation(values, low, high)

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
        return not np.array_equal(state[:2], state[3:5])

    @property
    def state(self) -> np.ndarray:
        """`(6,)` lowest value, highest value, steps seen, both values as last observed, steps that were not finite."""
        return np.asarray(self._state) if self._is_fixed else compat.read(self._state)

    @state.setter
    def state(self, state: Any) -> None:
        """Goes on from another state, or the first three or five numbers of one, on every replica."""
        self._state.assign(_whole_state(state))


# Traced once; a model has a hundred ranges, and each would be thirty operations of its step.
@tf.function(
    input_signature=[tf.TensorSpec((6,)), tf.TensorSpec(()), tf.TensorSpec(()), tf.TensorSpec((), tf.bool)],
    autograph=False,
)
def _observed(state: tf.Tensor, least: tf.Tensor, greatest: tf.Tensor, is_whole: tf.Tensor) -> tf.Tensor:
    """The state after one more step with these ends, see `Range.observe`."""
    low, high, count, low_before, high_before, spoiled = tf.unstack(state)
    more = count + 1.0
    slow = tf.where(count > 0, tf.clip_by_value(1.0 / more, FADES, SLOWEST), 1.0)
    rate = tf.where(is_whole, slow, tf.maximum(1.0 / more, SLOWEST))
    faster = tf.where(is_whole, 1.0, tf.where(rate > SLOWEST, tf.maximum(rate, OUTWARD), rate))
    below, above = least - low, greatest - high
    new_low = low + tf.minimum(rate * below, faster * below)
    new_high = high + tf.maximum(rate * above, faster * above)
    seen = tf.stack([new_low, new_high, more, new_low, new_high, spoiled])
    unseen = tf.stack([low, high, count, low_before, high_before, spoiled + 1.0])
    is_finite = tf.logical_and(tf.math.is_finite(least), tf.math.is_finite(greatest))
    return tf.where(is_finite, seen, unseen)


def _whole_state(state: Any) -> np.ndarray:
    """A state with all of its numbers: what is known by the first three was observed."""
    state = np.asarray(state, np.float32)
    state = np.concatenate([state, state[:2]]) if state.size == 3 else state
    return np.append(state, np.float32(0)) if state.size == 5 else state


def as_ranges(values: dict[str, tuple[float, float]]) -> dict[str, Range]:
    """Ranges that are known and stay so, for an export."""
    return {name: Range(np.array([*pair, 1.0], np.float32), is_fixed=True) for name, pair in values.items()}
