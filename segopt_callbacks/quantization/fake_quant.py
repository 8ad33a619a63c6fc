"""Tensors rounded as an integer file rounds them, and still float: what quantization-aware training computes with."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

ACTIVATION_BITS = 8
_SMALLEST = 1e-12  # of a scale; a channel of zeros has none


def quantized_weight(kernel: Any, channel_axes: tuple[int, ...], num_bits: int = 8) -> tf.Tensor:
    """A kernel rounded to symmetric integers, with a scale for each output channel.

    `round(w / s) * s` with `s = max|w| / (2^(bits - 1) - 1)` over the channel, as LiteRT stores it (Jacob et al. 2018,
    https://arxiv.org/abs/1712.05877; zero is exact). Scaling a channel, as folding a BatchNormalization does, scales
    the result: so the folded kernel need not be made for it. The gradient passes as if nothing had been rounded.

    Args:
        kernel: floating, any shape.
        channel_axes: axes of output channels, counted from the end.
        num_bits: 8 or 4.

    Returns:
        the kernel's shape and dtype.

    >>> quantized_weight(tf.constant([[1.0, 127.0], [0.4, 63.4]]), (-1,)).numpy().tolist()
    [[1.0, 127.0], [0.4015747904777527, 63.0]]
    """
    kernel = tf.convert_to_tensor(kernel)
    rounded = on_levels(tf.cast(kernel, tf.float32), channel_axes, num_bits)
    return kernel + tf.stop_gradient(tf.cast(rounded, kernel.dtype) - kernel)


def on_levels(values: tf.Tensor, channel_axes: tuple[int, ...], num_bits: int) -> tf.Tensor:
    """The values that `quantized_weight` rounds to, without its gradient: `2^bits - 1` in each channel at most.

    >>> on_levels(tf.constant([[7.0, -14.0], [2.6, 1.1]]), (-1,), 4).numpy().tolist()
    [[7.0, -14.0], [3.0, 2.0]]
    """
    others = [axis for axis in range(values.shape.rank) if axis - values.shape.rank not in channel_axes]
    highest = 2.0 ** (num_bits - 1) - 1
    scale = tf.maximum(tf.reduce_max(tf.abs(values), others, keepdims=True) / highest, _SMALLEST)
    return tf.clip_by_value(tf.round(values / scale), -highest, highest) * scale


def quantized_activation(values: tf.Tensor, low: Any, high: Any) -> tf.Tensor:
    """A tensor rounded to 256 equal steps between two numbers, one of which is zero exactly.

    TensorFlow's own operation, which converters read the range from. The gradient passes inside of the range, and is
    zero outside (Jacob et al. 2018, section 3).

    Args:
        values: floating, any shape.
        low: scalar, the range's lower end, at most 0; it is moved by less than half a step so that 0 is a step.
        high: scalar, its upper end, at least 0.

    Returns:
        the values' shape and dtype.

    >>> quantized_activation(tf.constant([-1.0, 0.0, 0.3, 300.0]), 0.0, 255.0).numpy().tolist()
    [0.0, 0.0, 0.0, 255.0]
    """
    rounded = tf.quantization.fake_quant_with_min_max_vars(tf.cast(values, tf.float32), low, high, ACTIVATION_BITS)
    return tf.cast(rounded, values.dtype)


def extremes(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The least and the greatest value, zero among them: float32 scalars."""
    values = tf.cast(values, tf.float32)
    return tf.minimum(tf.reduce_min(values), 0.0), tf.maximum(tf.reduce_max(values), 0.0)
