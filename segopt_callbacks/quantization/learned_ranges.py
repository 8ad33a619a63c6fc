"""Ranges that are trained: the gradient of a rounded tensor with respect to both ends of its range, and their steps."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from segopt_callbacks.quantization.fake_quant import ACTIVATION_BITS, quantized_activation

STEPS = 2**ACTIVATION_BITS - 1  # from the lower end to the upper
RATE = 0.01  # of the range's width: the most that an end moves at once
WIDEST = 100.0  # times the width that was observed: a range gets no wider, and no narrower than one part in as many


def learned_activation(values: tf.Tensor, state: tf.Tensor, learn: Callable[[tf.Tensor, tf.Tensor], None]) -> tf.Tensor:
    """`quantized_activation`, which tells what its range should do when its gradient is taken.

    Args:
        values: floating, any shape.
        state: at least `(2,)`: lower end, at most 0; upper end, at least 0. It gets no gradient, but a tape must watch
            it, or `values`, for one to be taken at all.
        learn: takes the gradient with respect to both ends, `(2,)`, and that with respect to the rounded values; called
            while gradients are traced.

    Returns:
        the values' shape and dtype.

    >>> told, values = [], tf.Variable([1.0, 9.0])
    >>> with tf.GradientTape() as tape:
    ...     rounded = learned_activation(values, tf.constant([0.0, 2.0]), lambda ends, upstream: told.append(ends))
    >>> tape.gradient(rounded, values).numpy().tolist()
    [1.0, 0.0]
    >>> [round(float(end), 2) for end in told[0]]  # what is clipped moves with the upper end
    [0.0, 1.0]
    """

    @tf.custom_gradient
    def rounding(values: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tuple]]:
        rounded = quantized_activation(values, state[0], state[1])

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
            passed, ends = end_gradients(values, rounded, state[0], state[1], upstream)
            learn(ends, upstream)
            return passed, None

        return rounded, gradient

    # Casts stand outside, so that gradients inside are float32 in mixed precision.
    return tf.cast(rounding(tf.cast(values, tf.float32), state), values.dtype)


def end_gradients(
    values: tf.Tensor, rounded: tf.Tensor, low: tf.Tensor, high: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients of a loss through rounded values (Esser et al. 2020, https://arxiv.org/abs/1902.08153, section 2.1).

    With `s = (high - low) / 255`, and `Qn`, `Qp` the steps below and above zero, the paper's gradient of a rounded
    value with respect to `s` is `round(x / s) - x / s` inside of the range, `-Qn` below and `Qp` above (equation 3).
    Files have an integer zero that need not be in the middle, so both ends are learned (Bhalgat et al. 2020,
    https://arxiv.org/abs/2004.09576): `s` moves with each by a 255th, and what is clipped moves with its end alone.
    Along `s`, where both ends move in proportion, that is equation 3 again. An end at zero moves with what is clipped
    there alone, so that a range of values that are never negative has one parameter, and is the paper's unsigned one.

    Args:
        values: float32, any shape.
        rounded: what `quantized_activation` made of them.
        low: scalar, at most 0.
        high: scalar, at least 0.
        upstream: gradient of the loss with respect to `rounded`.

    Returns:
        the gradient with respect to `values` (straight through inside, zero outside), and that with respect to
        `(low, high)`, `(2,)`.

    Of three values, one is rounded down by half a step (0.4 to 0), and one is clipped:

    >>> values, step = tf.constant([0.0, 0.4, 300.0]), 1.0
    >>> passed, ends = end_gradients(values, tf.constant([0.0, 0.0, 255.0]), 0.0, 255.0, tf.ones(3))
    >>> passed.numpy().tolist(), round(float(ends[1]), 4)  # 1 - 0.4 / 255
    ([1.0, 1.0, 0.0], 0.9984)
    """
    passed, below, above = tf.quantization.fake_quant_with_min_max_vars_gradient(
        upstream, values, low, high, ACTIVATION_BITS
    )
    # `(rounded - values) / s` for the step size, and a 255th of that for each end.
    inside = tf.reduce_sum(passed * (rounded - values)) / (high - low)
    return passed, tf.stack([below, above]) + tf.where(tf.stack([low < 0, high > 0]), [-inside, inside], 0.0)


def signals(ends: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """How strongly, and whereto, each end is pulled: free of units, and of the scale of the loss.

    The gradient with respect to an end, in steps (255 times it), times the paper's factor `1 / sqrt(N * Qp)` (section
    2.2; `N` values, and all 255 steps for `Qp`, since a range may have none above zero), divided by the root of the
    mean square of the upstream gradient. So a loss scale of mixed precision cancels out, be it constant or not.

    Args:
        ends: `(2,)`, of `end_gradients`.
        upstream: gradient of the loss with respect to the rounded values.

    Returns:
        `(2,)`, in [-1, 1]; zero where a gradient is not finite, as when a loss scale was too large, or is all zero.

    >>> signals(tf.constant([0.0, 0.5]), tf.constant([3.0, 4.0])).numpy().tolist()  # 0.5 * sqrt(255) / 5, clipped
    [0.0, 1.0]
    """
    # 255 / sqrt(N * 255) / sqrt(sum / N): N cancels out
    pulls = tf.math.divide_no_nan(ends * STEPS**0.5, tf.sqrt(2.0 * tf.nn.l2_loss(upstream)))
    return tf.clip_by_value(tf.where(tf.math.is_finite(pulls), pulls, 0.0), -1.0, 1.0)


def moved(bounds: tf.Tensor, pulls: tf.Tensor, first_width: tf.Tensor) -> tf.Tensor:
    """Both ends after one step against their gradients: each by at most a hundredth of the range's width.

    Args:
        bounds: `(2,)` lower end, at most 0, and upper end, at least 0.
        pulls: `(2,)`, of `signals`.
        first_width: scalar, width of the range that was observed.

    Returns:
        `(2,)`, zero between them. As before, if they came closer than a hundredth of the first width, or a hundredfold
        apart.

    >>> moved(tf.constant([0.0, 2.0]), tf.constant([-1.0, 0.5]), 2.0).numpy().tolist()
    [0.0, 1.9900000095367432]
    """
    there = bounds - RATE * (bounds[1] - bounds[0]) * pulls
    there = tf.stack([tf.minimum(there[0], 0.0), tf.maximum(there[1], 0.0)])
    width = there[1] - there[0]
    return tf.where((width >= first_width / WIDEST) & (width <= first_width * WIDEST), there, bounds)
