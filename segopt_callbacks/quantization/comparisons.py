"""Comparisons of 8-bit tensors, which LiteRT computes in steps of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.quantization.fake_quant import quantized_activation

COMPARISONS = frozenset({"Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual"})
_STEP = 0.5  # of what is compared, at most; LiteRT takes steps below 1 alone


def common_factor(low: float, high: float) -> float:
    """What both sides of a comparison are multiplied by in an integer file: a power of two.

    LiteRT's kernels compare in steps of 1/256 whatever the steps of their inputs are, and take input steps below 1
    alone (`left_shift = 8` in its `comparisons.cc`). So a tensor from 0 to 0.01 is equal to anything in it. Which side
    is greater is not changed by a factor, and a power of two moves no value to another of the 256.

    Args:
        low: lowest value of the tensor, at most 0.
        high: highest value, at least 0.

    Example:
        >>> common_factor(0.0, 0.01), common_factor(0.0, 255.0)
        (8192.0, 0.5)
    """
    step = (high - low) / 255
    return float(2.0 ** np.floor(np.log2(_STEP / step))) if step > 0 else 1.0


def comparable(arguments: dict[str, Any], bounds: dict[str, np.ndarray]) -> dict[str, Any]:
    """The two sides of a comparison as LiteRT tells them apart.

    Args:
        arguments: `x` and `y`, rounded where they have a range.
        bounds: `x` or `y` or both -> lowest and highest value, where it has a range.

    Returns:
        both, times a common factor, and rounded again: to the same 256 values, times that factor.
    """
    low = min(float(one[0]) for one in bounds.values())
    high = max(float(one[1]) for one in bounds.values())
    factor, beyond = common_factor(low, high), (high - low) / 255
    found = dict(arguments)
    for side in ("x", "y"):
        value = tf.convert_to_tensor(arguments[side])
        if side in bounds:
            found[side] = quantized_activation(value * factor, *(bounds[side] * factor))
        else:  # a step beyond the range is as good as far beyond it
            found[side] = tf.clip_by_value(value, low - beyond, high + beyond) * factor
    return found
