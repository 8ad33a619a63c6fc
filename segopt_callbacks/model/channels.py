"""A model's inference graph -> which axes of each kernel are output channels, and what is zeroed with them.

The graph of any model says it, subclassed or not: which operation reads a kernel, and what happens to its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat

# What hands a value on as it is, and what changes the values of a channel by that channel's own constants.
_SAME = {"Identity", "Cast", "ReadVariableOp", "StopGradient"}
# Dilated convolutions are plain ones between SpaceToBatchND and BatchToSpaceND.
_RESHAPE = {"Reshape", "ExpandDims", "Squeeze", "BatchToSpaceND"}
_ADD = {"BiasAdd", "Add", "AddV2"}
_PER_CHANNEL = {*_ADD, "Sub", "Mul", "FusedBatchNormV3"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
# Operation -> output channels among the axes of its kernel, which is input 1.
_OUTPUTS = {
    "Conv2D": (-1,),
    "Conv3D": (-1,),
    "DepthwiseConv2dNative": (-2, -1),
    "Conv2DBackpropInput": (-2,),
    "Conv3DBackpropInputV2": (-2,),
}


@dataclass(frozen=True)
class Role:
    """What a kernel is in its model.

    Attributes:
        outputs: the axes that are output channels, counted from the end; `None` if no known operation reads it.
        followers: bias, scale, offset: trainable variables of one value for each channel that follow.
        gives_output: whether no other kernel comes after it.
    """

    outputs: tuple[int, ...] | None
    followers: tuple[Any, ...]
    gives_output: bool


def roles(model: Any, inputs: Any, kernels: dict[str, Any]) -> dict[str, Role]:
    """Traces a model for inference and finds out what each kernel is in it.

    A follower is found where the answer of the kernel's operation is added to, or multiplied by, constants of the
    model that are computed from it: biases, and BatchNorm with its moving statistics.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, batch first.
        kernels: path -> variable.

    Returns:
        path -> role.

    Raises:
        ValueError: if the model cannot be traced.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.Conv2D(2, 1)]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> first, last = roles(model, tf.TensorSpec((None, 8, 8, 3)), dict(zip("ab", layers[0].weights))).values()
        >>> first.outputs, len(first.followers), first.gives_output
        ((-1,), 3, False)
    """
    graph = Graph(model, inputs)
    return {path: graph.role(kernel) for path, kernel in kernels.items()}


class Graph:
    """The operations of a model's inference function, and how they hang together.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, batch first.

    Raises:
        ValueError: if the model cannot be traced.
    """

    def __init__(self, model: Any, inputs: Any) -> None:
        self._graph, arguments, captures = compat.inference_graph(model, inputs)
        self._handles = {id(outside): inside for outside, inside in captures}
        self._trainable, self._variables = list(model.trainable_variables), list(model.variables)
        operations = self._graph.get_operations()
        self._from_input = _forward(operations, {tensor.op for tensor in arguments})
        kernels = [self._handle(one) for one in self._trainable if len(one.shape) >= 2]
        derived = _forward(operations, {one.op for one in kernels if one is not None})
        self._kernel_readers = {
            op for op in self._from_input if any(one.op in derived - self._from_input for one in op.inputs)
        }

    def role(self, kernel: Any) -> Role:
        """What `kernel` is; all operations that read it must agree on its output channels."""
        handle = self._handle(kernel)
        readers = [] if handle is None else list(_readers(handle))
        outputs = {_output_axes(op, index) for op, index in readers}
        axes = outputs.pop() if len(outputs) == 1 else None
        if axes is None:
            return Role(None, (), False)
        shape = tuple(kernel.shape[axis] for axis in axes)
        shapes = {shape, (int(np.prod(shape)),)}  # an einsum's channels have several axes, a depthwise kernel's join
        followers = {id(one): one for op, _ in readers for one in self._followers(op.outputs[0], shapes)}
        return Role(axes, tuple(followers.values()), not any(self._reaches_kernel(op) for op, _ in readers))

    def answer(self, kernel: Any) -> tuple[tf.Tensor | None, tuple[int, ...] | None]:
        """What the one operation that reads `kernel` gives, and the kernel's axes that are output channels.

        Both are `None` where several operations read it, or one that is not known.
        """
        handle = self._handle(kernel)
        readers = [] if handle is None else list(_readers(handle))
        if len(readers) != 1 or _output_axes(*readers[0]) is None:
            return None, None
        return readers[0][0].outputs[0], _output_axes(*readers[0])

    def only_reader(self, tensor: tf.Tensor, channels: int) -> tf.Operation | None:
        """The one operation that computes with `tensor`, of `channels` channels; `None` where there are several."""
        while True:
            readers = [op for op in tensor.consumers() if op.type != "Shape"]
            if len(readers) != 1 or readers[0].type in _CALLS or not readers[0].outputs:
                return None
            if readers[0].outputs[0].shape.rank is None or readers[0].outputs[0].shape[-1] != channels:
                return None
            if readers[0].type not in _SAME | _RESHAPE:
                return readers[0]
            tensor = readers[0].outputs[0]

    def added_variable(self, operation: tf.Operation, channels: int) -> Any | None:
        """The variable `(channels,)` that `operation` adds as it is: a bias."""
        if operation.type not in _ADD:
            return None
        before = _backward(one for one in operation.inputs if one.op not in self._from_input)
        if any(op.type not in _SAME | _RESHAPE | {"Placeholder", "Const"} for op in before):
            return None
        found = [one for one in self._variables if (handle := self._handle(one)) is not None and handle.op in before]
        return found[0] if len(found) == 1 and tuple(found[0].shape) == (channels,) else None

    def scales_by(self, operation: tf.Operation, variance: Any) -> bool:
        """Whether `operation` multiplies by what is computed from `variance`, and nobody else uses it."""
        handle = self._handle(variance)
        if handle is None or operation.type not in ("Mul", "FusedBatchNormV3"):
            return False
        derived = _forward(self._graph.get_operations(), {handle.op}) - self._from_input
        users = {op for op in self._from_input if any(one.op in derived for one in op.inputs)}
        return operation in users and users <= {operation, *operation.outputs[0].consumers()}

    def _handle(self, variable: Any) -> tf.Tensor | None:
        return self._handles.get(id(compat.raw_variable(variable).handle))

    def _reaches_kernel(self, operation: tf.Operation) -> bool:
        after = _forward(self._graph.get_operations(), {operation}) - {operation}
        return bool(after & self._kernel_readers)

    def _followers(self, tensor: tf.Tensor, shapes: set[tuple[int, ...]]) -> Iterator[Any]:
        """Variables behind `tensor`, along operations that leave channels apart."""
        for op in tensor.consumers():
            constants = [one for one in op.inputs if one.op not in self._from_input]
            is_per_channel = op.type in _PER_CHANNEL and len(constants) == len(op.inputs) - 1
            if not (is_per_channel or op.type in _SAME | _RESHAPE) or op.outputs[0].shape.rank is None:
                continue
            answer = tuple(op.outputs[0].shape)
            if not any(answer[-len(shape) :] == shape for shape in shapes):
                continue
            if is_per_channel:
                yield from self._variables_of(constants, shapes)
            yield from self._followers(op.outputs[0], shapes)

    def _variables_of(self, constants: Iterable[tf.Tensor], shapes: set[tuple[int, ...]]) -> Iterator[Any]:
        before = _backward(constants)
        for variable in self._trainable:
            handle = self._handle(variable)
            if handle is not None and handle.op in before and tuple(variable.shape) in shapes:
                yield variable


def _forward(operations: list[tf.Operation], start: set[tf.Operation]) -> set[tf.Operation]:
    reached = set(start)
    for op in operations:  # in the order in which they were made, inputs before outputs
        if any(one.op in reached for one in op.inputs):
            reached.add(op)
    return reached


def _backward(tensors: Iterable[tf.Tensor]) -> set[tf.Operation]:
    reached: set[tf.Operation] = set()
    waiting = [tensor.op for tensor in tensors]
    while waiting:
        op = waiting.pop()
        if op not in reached:
            reached.add(op)
            waiting += [one.op for one in op.inputs]
    return reached


def _readers(tensor: tf.Tensor) -> Iterator[tuple[tf.Operation, int]]:
    """Operations that compute with a variable's value, each with the number of the input that is this value."""
    for op in tensor.consumers():
        if op.type in _SAME | {"ExpandDims"}:
            yield from _readers(op.outputs[0])
        else:
            yield from ((op, index) for index, one in enumerate(op.inputs) if one is tensor)


def _output_axes(op: tf.Operation, index: int) -> tuple[int, ...] | None:
    """The axes of the kernel, input `index` of `op`, that are output channels; `None` where it is not known."""
    if op.type in _CALLS:
        inner = {_output_axes(*reader) for reader in _readers(compat.function_inputs(op)[index])}
        return inner.pop() if len(inner) == 1 else None
    if index != 1:
        return None
    if op.type in ("MatMul", "BatchMatMulV2"):
        return (-2,) if op.get_attr("transpose_b" if op.type == "MatMul" else "adj_y") else (-1,)
    if op.type == "Einsum":
        return _einsum_axes(op.get_attr("equation").decode())
    return _OUTPUTS.get(op.type)


def _einsum_axes(equation: str) -> tuple[int, ...] | None:
    """The axes of an einsum's second operand that its answer ends in.

    >>> _einsum_axes("abc,cde->abde"), _einsum_axes("abc,acd->abd")
    ((-2, -1), None)
    """
    operands, answer = equation.split("->")
    first, kernel = operands.split(",")
    outputs = [label for label in kernel if label in answer]
    if any(label in first for label in outputs) or not answer.endswith("".join(outputs)) or not outputs:
        return None
    return tuple(kernel.index(label) - len(kernel) for label in outputs)
