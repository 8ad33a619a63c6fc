"""Operations that are singular near zero, in 8 bits: what they read stays one step away from where they have no value.

What is small is rounded to zero exactly, an epsilon with it: then a logarithm is infinite, a quotient too, and so is
the slope of a square root. LiteRT's own integer kernels saturate (`RSQRT`), or end the process (`DIV`). So the file has
a MAXIMUM of one step before such an operation, in integers, and training computes the same. What these operations give
gets a range as wide as one step of their input makes it, and no wider: 1 / sqrt(0.000001) would leave no step for 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.quantization.fake_quant import quantized_activation
from segopt_callbacks.quantization.learned_ranges import STEPS

# Operation -> the argument that must not be zero, and its place. Of the first the argument is positive.
_POSITIVE = {"Log": ("x", 0), "Rsqrt": ("x", 0), "Xlogy": ("y", 1), "Lgamma": ("x", 0), "Digamma": ("x", 0)}
_SIGNED = {
    **{"RealDiv": ("y", 1), "Div": ("y", 1), "FloorDiv": ("y", 1), "FloorMod": ("y", 1), "Xdivy": ("y", 1)},
    **{"Reciprocal": ("x", 0), "Inv": ("x", 0), "Pow": ("x", 0), "Atan2": ("x", 1)},
}
_INSIDE_ONE = {"Asin": ("x", 0), "Acos": ("x", 0), "Atanh": ("x", 0), "Log1p": ("x", 0)}
# These have a value there, but no slope: where it is read, no gradient passes.
_SLOPES = {"Sqrt": ("x", 0), "EuclideanNorm": ("input", 0)}
SINGULAR = {**_POSITIVE, **_SIGNED, **_INSIDE_ONE, **_SLOPES}
# No rounding of a matrix keeps it invertible, and no file has these in integers: they read what was computed.
UNROUNDED = {
    *("MatrixInverse", "MatrixSolve", "MatrixTriangularSolve", "Cholesky", "SelfAdjointEigV2", "Svd", "Qr"),
    *("MatrixDeterminant", "LogMatrixDeterminant"),
}
_TINIEST = 1e-30  # of a step


def held(kind: str, values: Any, rounded: Any, bounds: Any, arguments: dict[str, Any]) -> tf.Tensor:
    """What a singular operation reads in place of a rounded tensor.

    Args:
        kind: of the operation, of `SINGULAR`.
        values: the tensor before it was rounded.
        rounded: the tensor, rounded.
        bounds: `(2,)` its lowest and highest value; a NumPy array where they never change.
        arguments: of the operation, by name.

    Returns:
        the rounded tensor, where that is at least a step away; else a step. A tensor of which nothing but zero was ever
        seen stays as it was.

    >>> of_ten = np.array([0.0, 10.0], "float32")
    >>> held("Log", tf.constant([0.001, 4.0]), tf.constant([0.0, 4.0]), of_ten, {}).numpy().round(2)
    array([0.04, 4.  ], dtype=float32)
    """
    if kind == "Pow":
        kind = _kind_of_power(arguments["y"])
    if kind in _SLOPES or kind == "":
        return _without_slope(kind, rounded)
    is_known = isinstance(bounds, np.ndarray)
    low, high = bounds[0], bounds[1]
    if is_known and not high > low:
        return values
    step = tf.cast(tf.maximum((high - low) / STEPS, _smallest(values.dtype)), values.dtype)
    if kind in _POSITIVE:
        away = tf.maximum(rounded, step)
    elif kind in _INSIDE_ONE:
        away = tf.minimum(tf.maximum(rounded, step - 1), 1 - step if kind != "Log1p" else rounded.dtype.max)
    elif is_known and low >= 0:
        away = tf.maximum(rounded, step)
    else:
        is_above = tf.logical_and(rounded >= 0, tf.cast(high, values.dtype) > 0)
        away = tf.where(is_above, tf.maximum(rounded, step), tf.minimum(rounded, -step))
    away = quantized_activation(away, low, high)  # the same integers
    return away if is_known else tf.where(high > low, away, values)


def limits(kind: str, inputs: Sequence[Any]) -> tuple[Any, Any]:
    """The lowest and highest value that an operation gives, whose input is held a step away.

    Args:
        kind: of the operation.
        inputs: for each of its inputs `(2,)` lowest and highest value, or a number: of a constant the
            largest magnitude, and the least where the operation is singular.

    Returns:
        two scalars, infinite where there is no limit.

    >>> float(limits("Rsqrt", [np.array([0.0, 255.0])])[1])
    1.0
    """
    if kind not in _LIMITED or inputs[SINGULAR[kind][1]] is None:
        return -np.inf, np.inf
    read = inputs[SINGULAR[kind][1]]
    step = tf.maximum((read[1] - read[0]) / STEPS, _TINIEST) if np.ndim(read) else tf.constant(float(read))
    step = tf.cast(step, tf.float32)
    if kind == "Rsqrt":
        return -np.inf, tf.math.rsqrt(step)
    if kind == "Log":
        return tf.math.log(step), np.inf
    above = 1.0 if SINGULAR[kind][1] == 0 else inputs[0]
    if above is None:
        return -np.inf, np.inf
    largest = tf.cast(tf.reduce_max(tf.abs(above)), tf.float32) / step
    return -largest, largest


_LIMITED = {"Rsqrt", "Log", "Reciprocal", "Inv", "RealDiv", "Div"}


def _kind_of_power(exponent: Any) -> str:
    """Which other operation `Pow` is like; empty for none, whose slope is finite."""
    power = tf.get_static_value(tf.convert_to_tensor(exponent))
    if power is None or np.ndim(power):
        return "Reciprocal"
    if power < 0:
        return "Reciprocal" if float(power).is_integer() else "Rsqrt"
    return "" if float(power).is_integer() else "Sqrt"


def _without_slope(kind: str, rounded: Any) -> tf.Tensor:
    if kind == "":
        return rounded
    has_slope = rounded > 0 if kind == "Sqrt" else tf.not_equal(rounded, 0)
    # Rounded terms of a difference can come out below zero, where a square root has no value either.
    elsewhere = tf.maximum(rounded, 0) if kind == "Sqrt" else rounded
    return tf.where(has_slope, rounded, tf.stop_gradient(elsewhere))


def _smallest(dtype: tf.DType) -> float:
    return float(np.finfo(dtype.as_numpy_dtype).tiny) if dtype != tf.bfloat16 else 1e-38
