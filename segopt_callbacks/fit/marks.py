"""Negative zeros: the mark of weights that are pruned, which every checkpoint format keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def filled(like: tf.Tensor, zero: float) -> tf.Tensor:
    """A tensor of `zero`, 0.0 or -0.0, of the shape and dtype of another."""
    # An array: of Python's numbers TensorFlow keeps the tensors, and takes that of 0.0 for -0.0.
    return tf.fill(like.shape, np.full((), zero, like.dtype.as_numpy_dtype))


def select(condition: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """`first` where `condition` is true, else `second`; all of one shape."""
    # tf.where takes half as long again with a scalar: it broadcasts.
    return tf.raw_ops.Select(condition=condition, x=first, y=second)


def unmarked(weight: Any) -> tf.Tensor:
    """The same values without negative zeros: no weight is marked as pruned."""
    weight = tf.convert_to_tensor(weight)
    return select(weight == 0, filled(weight, 0.0), weight)


def pruned_before(values: np.ndarray) -> np.ndarray:
    """Where weights were pruned that were saved and restored since: bool, `values`' shape.

    >>> pruned_before(np.array([0.0, -0.0, -0.5]))
    array([False,  True, False])
    """
    return (values == 0) & np.signbit(values)
