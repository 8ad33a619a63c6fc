"""What stands before a softmax, in 8 bits: no steps are spent on what a softmax makes zero of.

A mask adds -1e9, or the least float there is, to the logits that shall not count. A range that holds it has no two
steps for the others. Behind the softmax everything 16 below the largest is zero to 8 bits (and to 20), and likewise for
the mask: as low as the other term is wide, and 16 more, is low enough.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

RESOLVED = 16.0  # exp(-16) is a ten-millionth
_COARSE = 255.0  # width of a range whose steps are wider than 1, so that a softmax cannot tell its values apart


def resolved_logits(values: tf.Tensor) -> tf.Tensor:
    """Logits, without those that a softmax over the last axis makes zero of.

    >>> resolved_logits(tf.constant([3.0, 1.0, -1e9])).numpy().tolist()
    [3.0, 1.0, -13.0]
    """
    return tf.maximum(values, tf.reduce_max(values, -1, keepdims=True) - tf.cast(RESOLVED, values.dtype))


def limits_of_mask(low: Any, high: Any, others: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """The range of a term that is added to logits, or taken from them.

    Args:
        low: scalar, its lowest value.
        high: scalar, its highest.
        others: `(2,)` lowest and highest value of the other term.

    Returns:
        both values; those of a mask no further from zero than it takes to make nothing of the other term.

    >>> [float(one) for one in limits_of_mask(-1e9, 0.0, tf.constant([-2.0, 4.0]))]
    [-22.0, 0.0]
    """
    enough = others[1] - others[0] + RESOLVED
    is_coarse = high - low > tf.maximum(enough, _COARSE)
    return tf.where(is_coarse, tf.maximum(low, -enough), low), tf.where(is_coarse, tf.minimum(high, enough), high)
