"""A frozen inference function -> the weights that it multiplies by."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import tensorflow as tf

from segopt_callbacks import compat

_PRODUCTS = {
    "BatchMatMul",
    "BatchMatMulV2",
    "BatchMatMulV3",
    "Conv2D",
    "Conv2DBackpropInput",
    "Conv3D",
    "Conv3DBackpropInputV2",
    "DepthwiseConv2dNative",
    "Einsum",
    "MatMul",
    "XlaConvV2",
    "XlaDotV2",
}


def kernel_paths(frozen: Any) -> list[str]:
    """The weights of rank 2 or more that inference multiplies its inputs by, as convolutions and matrices do.

    Tables whose rows are looked up or added, and biases of two axes, are none. What is computed from a weight alone
    (a transpose, a normalised kernel) stands for it.

    Args:
        frozen: as `signature.freeze` returns it.

    Returns:
        their paths, in the model's order.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> from segopt_callbacks.model.signature import freeze
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Embedding(9, 3), keras.layers.Dense(2)])
        >>> len(kernel_paths(freeze(model, tf.TensorSpec((None, 4), tf.int32)))), len(model.weights)
        (1, 3)
    """
    needed = compat.needed_operations(frozen.serve.graph)
    handles = {id(outside): inside for outside, inside in frozen.serve.graph.captures}
    found = []
    for path, variable in frozen.weights.items():
        inside = handles.get(id(variable.handle)) if len(variable.shape) >= 2 else None
        if inside is not None and _is_multiplied(inside, needed, set()):
            found.append(path)
    return found


def _is_multiplied(tensor: tf.Tensor, needed: Collection[str] | None, seen: set[int]) -> bool:
    """Whether what is computed from `tensor`, and from no input, is a factor of a product.

    Args:
        tensor: of a weight.
        needed: names of the operations that count; `None`: all of them.
        seen: what was looked at before.
    """
    if id(tensor) in seen:
        return False
    seen.add(id(tensor))
    for operation, index in ((op, number) for op in tensor.consumers() for number in _places(op, tensor)):
        if needed is not None and operation.name not in needed:
            continue
        if operation.type in _PRODUCTS:
            return True
        inner = list(compat.inner_inputs(operation, index))
        if any(_is_multiplied(one, None, seen) for one in inner):
            return True
        is_derived = not inner and operation.type not in compat.LOOK_UPS and _is_of_weights(operation, tensor)
        if is_derived and any(_is_multiplied(one, needed, seen) for one in operation.outputs):
            return True
    return False


def _places(operation: tf.Operation, tensor: tf.Tensor) -> Iterator[int]:
    return (number for number, one in enumerate(operation.inputs) if one is tensor)


def _is_of_weights(operation: tf.Operation, tensor: tf.Tensor) -> bool:
    """Whether all other inputs are constants, or weights."""
    return all(one is tensor or _is_known(one, set()) for one in operation.inputs)


def _is_known(tensor: tf.Tensor, seen: set[int]) -> bool:
    if id(tensor) in seen:
        return True
    seen.add(id(tensor))
    if tensor.op.type == "Placeholder":
        return tensor.dtype == tf.resource
    return all(_is_known(one, seen) for one in tensor.op.inputs)
