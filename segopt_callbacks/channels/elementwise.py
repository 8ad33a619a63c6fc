"""Operations that compute each channel from the same channel of what they read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.channels.graph import Graph, unknown
from segopt_callbacks.channels.links import Binding, Link

SIZE_UNKNOWN = "the number of channels is not known before it runs"
Function = Callable[..., np.ndarray]


def zero_stays(value: np.ndarray) -> np.ndarray:
    """Zero for zero, of other values nothing is known."""
    return np.where(value == 0, 0.0, np.nan)


def same(value: np.ndarray) -> np.ndarray:
    """The value itself."""
    return value


def nothing(*values: np.ndarray) -> np.ndarray:
    """Nothing is known."""
    return unknown(len(values[0]))


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    is_zero = ((one == 0) & ~np.isinf(other)) | ((other == 0) & ~np.isinf(one))
    return np.where(is_zero, 0.0, one * other)


def _quotient(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(other) & (other != 0), one / other, np.nan)


FUNCTIONS: dict[str, Function] = {
    **dict.fromkeys(("Identity", "StopGradient", "PreventGradient", "Snapshot", "CheckNumerics"), same),
    "Relu": lambda x: np.maximum(x, 0),
    "Relu6": lambda x: np.clip(x, 0, 6),
    "Neg": np.negative,
    "Abs": np.abs,
    "Add": np.add,
    "AddV2": np.add,
    "BiasAdd": np.add,
    "AddN": lambda *values: np.sum(values, axis=0),
    "Sub": np.subtract,
    "Mul": _product,
    "RealDiv": _quotient,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "SquaredDifference": lambda x, y: (x - y) ** 2,
    "SelectV2": lambda condition, x, y: np.where(x == y, x, np.nan),
    **dict.fromkeys(
        (
            *("Asinh", "Asin", "Atan", "Atanh", "Ceil", "Elu", "Erf", "Expm1", "Floor", "LeakyRelu", "Log1p", "Rint"),
            *("Round", "Selu", "Sign", "Sin", "Sinh", "Softsign", "Sqrt", "Square", "Tan", "Tanh", "ZerosLike"),
        ),
        zero_stays,
    ),
    **dict.fromkeys(
        (
            *("Acos", "Acosh", "Cos", "Cosh", "Digamma", "Div", "DivNoNan", "Equal", "Erfc", "Exp", "FloorDiv"),
            *("FloorMod", "Greater", "GreaterEqual", "Inv", "IsFinite", "IsInf", "IsNan", "Less", "LessEqual"),
            *("Lgamma", "Log", "LogicalAnd", "LogicalNot", "LogicalOr", "NotEqual", "OnesLike", "Pow", "Reciprocal"),
            *("Rsqrt", "Sigmoid", "Softplus", "Xdivy", "Xlogy"),
        ),
        nothing,
    ),
}


def elementwise(op: tf.Operation, graph: Graph) -> Binding:
    """An operation of `FUNCTIONS`."""
    if op.type == "BiasAdd" and op.get_attr("data_format") != b"NHWC":
        return Binding(refused="its channels are not the last axis")
    return apart(op, graph, range(len(op.inputs)), FUNCTIONS[op.type])


def cast(op: tf.Operation, graph: Graph) -> Binding:
    """A cast; between floating-point types values stay what they are."""
    is_float = op.outputs[0].dtype.is_floating and op.inputs[0].dtype.is_floating
    return apart(op, graph, (0,), same if is_float else zero_stays)


def fake_quant(op: tf.Operation, graph: Graph) -> Binding:
    """A rounding to integers; zero has an exact one."""
    low, high = (graph.value(one) for one in op.inputs[1:])
    if low is None or high is None:
        return Binding(refused="the range that it rounds to depends on the input")
    options = {name: op.get_attr(name) for name in ("num_bits", "narrow_range")}

    def rounded(value: np.ndarray) -> np.ndarray:
        finite = np.nan_to_num(value).astype(np.float32)
        codes = tf.quantization.fake_quant_with_min_max_vars(finite, low, high, **options).numpy()
        return np.where(np.isnan(value), np.nan, codes)

    return apart(op, graph, (0,), rounded)


def batch_norm(op: tf.Operation, graph: Graph) -> Binding:
    """The fused BatchNormalization with moving statistics: a factor and an offset for each channel."""
    if op.get_attr("is_training") or op.get_attr("data_format") != b"NHWC":
        return Binding(refused="it normalizes by the statistics of its own input")
    epsilon = op.get_attr("epsilon")

    def normalized(x: Any, scale: Any, offset: Any, mean: Any, variance: Any) -> np.ndarray:
        return _product(_product(x - mean, scale), 1 / np.sqrt(variance + epsilon)) + offset

    return apart(op, graph, range(5), normalized)


def apart(op: tf.Operation, graph: Graph, inputs: Sequence[int], function: Function, output: int = 0) -> Binding:
    """Ties the channels of some inputs to those of an output.

    Args:
        op: the operation.
        graph: that it is in; learns what is known of the output.
        inputs: numbers of the inputs that it computes with; one with a single channel stands for all channels.
        function: of what is known of them.
        output: number of the output.
    """
    out = op.outputs[output]
    count = graph.size(out)
    if count is None:
        return Binding(refused=SIZE_UNKNOWN)
    tensors = [op.inputs[index] for index in inputs]
    if any(graph.size(one) not in (1, count) for one in tensors):
        return Binding(refused=SIZE_UNKNOWN)
    known = [graph.channels(one, count) for one in tensors]
    with np.errstate(all="ignore"):
        result = np.asarray(function(*known), np.float64)
    if not graph.is_constant(out):
        graph.known[out.name] = result
    tied = [
        link(graph, one, out, breaks=(before == 0) & (result != 0), why=made_of_zero(op))
        for one, before in zip(tensors, known, strict=True)
        if one.shape.rank and graph.size(one) == count and out.shape.rank
    ]
    return Binding(links=tied, claimed=dict.fromkeys(inputs, (-1,)))


def link(
    graph: Graph,
    one: tf.Tensor,
    other: tf.Tensor,
    one_at: np.ndarray | None = None,
    other_at: np.ndarray | None = None,
    breaks: np.ndarray | None = None,
    why: str = "",
) -> Link:
    """Ties channels of `one` to those of `other`; all of both by default."""
    every = np.arange(graph.size(one) or 0 if other_at is None else len(other_at))
    first = every if one_at is None else one_at
    second = np.arange(len(first)) if other_at is None else other_at
    return Link(graph.key(one), graph.key(other), first, second, breaks, why)


def made_of_zero(op: tf.Operation) -> str:
    """What the report says of an operation that makes something else of zero."""
    return f"{op.type} {op.name} makes something other than zero of it"
