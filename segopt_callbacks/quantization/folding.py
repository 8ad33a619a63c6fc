"""What TensorFlow's converter multiplies into the next kernel: its result is in no file, and needs no range."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_SCALES = {"Mul", "RealDiv"}
_SHIFTS = {"Add", "AddV2", "Sub"}
_PADDED = {"Conv2D", "DepthwiseConv2dNative"}


def folded_forward(tensor: tf.Tensor) -> bool:
    """Whether a tensor is a scale or a shift by one constant, which a convolution alone reads.

    Such as `image / 127.5 - 1` in front of a network. A shift can be folded where the convolution pads nothing: its
    zeros are put beside the shifted values.

    Args:
        tensor: symbolic, in a graph that is complete.

    Example:
        >>> with tf.Graph().as_default():
        ...     images = tf.raw_ops.Placeholder(dtype=tf.float32, shape=(1, 4, 4, 1))
        ...     scaled, shifted = images * 2.0, images - 1.0
        ...     for one in (scaled, shifted):
        ...         _ = tf.nn.conv2d(one, tf.ones((3, 3, 1, 1)), 1, "SAME")
        ...     folded_forward(scaled), folded_forward(shifted), folded_forward(images)
        (True, False, False)
    """
    constant = _constant(tensor)
    if constant is None or len(tensor.consumers()) != 1:
        return False
    is_shift = tensor.op.type in _SHIFTS and constant != 0
    reader = tensor.consumers()[0]
    while reader.outputs and _constant(reader.outputs[0]) is not None and len(reader.outputs[0].consumers()) == 1:
        is_shift |= reader.type in _SHIFTS and _constant(reader.outputs[0]) != 0
        tensor, reader = reader.outputs[0], reader.outputs[0].consumers()[0]
    if reader.type not in _PADDED or reader.inputs[0] is not tensor:
        return False
    return not is_shift or reader.get_attr("padding") == b"VALID"


def _constant(tensor: tf.Tensor) -> float | None:
    """The number by which an operation scales or shifts; `None` where it does neither."""
    if tensor.op.type not in _SCALES | _SHIFTS:
        return None
    first, second = (tf.get_static_value(one) for one in tensor.op.inputs)
    other = second if first is None and tensor.op.type in {"RealDiv", "Sub"} else first if second is None else second
    if (first is None) == (second is None) or np.size(other) != 1 or not tensor.dtype.is_floating:
        return None
    return None if tensor.op.type in {"RealDiv", "Sub"} and second is None else float(np.reshape(other, ()))
