"""A frozen function's graph, read for its channels: what is constant, how many channels a tensor has, which are known.

The channels of a tensor are the indices of its last axis. A channel is known where it has one value, whatever the
input and at every position; what is known is a vector of one value for each channel, NaN where nothing is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.channels.links import Key

_PASSED_ON = ("Identity", "StopGradient")


class Graph:
    """The operations that the outputs of a frozen function depend on.

    Args:
        frozen: as `signature.freeze` returns it.

    Attributes:
        operations: in the order in which they were made, inputs before outputs.
        variables: name of the tensor that stands for a variable in the graph -> the variable.
        known: name of a tensor that depends on the input -> what is known of its channels; filled by the rules.
    """

    def __init__(self, frozen: Any) -> None:
        graph = frozen.serve.graph
        needed = compat.needed_operations(graph)
        self.operations = [op for op in graph.get_operations() if op.name in needed]
        by_handle = {id(variable.handle): variable for variable in frozen.weights.values()}
        self.variables = {
            inside.name: by_handle[id(outside)] for outside, inside in graph.captures if id(outside) in by_handle
        }
        self.known: dict[str, np.ndarray] = {}
        self._readers: dict[str, list[tf.Operation]] = {}
        for op in self.operations:
            for tensor in op.inputs:
                self._readers.setdefault(tensor.name, []).append(op)
        self._constant = self._constants()
        self._values = self._computed(frozen)

    def is_constant(self, tensor: tf.Tensor) -> bool:
        """Whether a tensor is the same whatever the input."""
        return tensor.op.name in self._constant

    def value(self, tensor: tf.Tensor) -> np.ndarray | None:
        """The value of a constant tensor; `None` for others, and for what only constants read."""
        if not self.is_constant(tensor):
            return None
        if tensor.op.type == "Const":
            return np.asarray(tf.make_ndarray(tensor.op.get_attr("value")))
        if tensor.op.type == "ReadVariableOp":
            return np.asarray(self.variables[tensor.op.inputs[0].name].numpy())
        return self._values.get(tensor.name)

    def source(self, tensor: tf.Tensor) -> str:
        """The name of the variable or constant that a constant tensor is a copy of; of other tensors their own."""
        while self.is_constant(tensor):
            op = tensor.op
            if op.type == "ReadVariableOp":
                return str(op.inputs[0].name)
            if op.type == "ExpandDims" and tensor.shape[1:] == op.inputs[0].shape and len(tensor.shape) > 2:
                if not self._adds_the_first_axis(op):
                    break
            elif op.type == "Cast":
                if not (tensor.dtype.is_floating and op.inputs[0].dtype.is_floating):
                    break
            elif op.type not in _PASSED_ON:
                break
            tensor = op.inputs[0]
        return str(tensor.name)

    def size(self, tensor: tf.Tensor, axis: int = -1) -> int | None:
        """The number of channels, 1 of a scalar; `None` where it is not known."""
        if tensor.dtype == tf.resource:
            return None  # a variable by its name, which loops read by themselves
        rank = tensor.shape.rank
        if rank is None or rank < -axis:
            return 1 if rank == 0 else None
        if not tensor.dtype.is_floating and (rank == 1 or self.is_constant(tensor)):
            return None  # shapes, axes and the like
        if axis == -1 and tensor.shape[-1] is None:
            return self._size_read(tensor)
        return None if tensor.shape[axis] is None else int(tensor.shape[axis])

    def sizes(self) -> dict[Key, int]:
        """The number of channels of everything that has a name."""
        sizes: dict[Key, int] = {}
        for op in self.operations:
            for tensor in [*op.outputs, *op.inputs]:
                for axis in (-1, -2):
                    size = self.size(tensor, axis)
                    if size is not None:
                        sizes[self.key(tensor, axis)] = size
        return sizes

    def key(self, tensor: tf.Tensor, axis: int = -1) -> Key:
        """What stands for an axis of a tensor, the same for all copies of a variable."""
        return self.source(tensor), axis

    def channels(self, tensor: tf.Tensor, count: int) -> np.ndarray:
        """What is known of the channels of a tensor that has `count` of them, or one for all."""
        found = self.known.get(tensor.name)
        if found is None:
            value = self.value(tensor)
            found = unknown(1) if value is None or value.dtype.kind != "f" else _common(value)
        return np.broadcast_to(found, (count,)) if found.size in (1, count) else unknown(count)

    def _constants(self) -> set[str]:
        names: set[str] = set()
        for op in self.operations:
            reads = op.type == "ReadVariableOp" and op.inputs[0].name in self.variables
            is_computed = bool(op.inputs) and all(one.op.name in names for one in op.inputs)
            if op.type == "Const" or reads or (is_computed and not op.op_def.is_stateful):
                names.add(op.name)
        return names

    def _computed(self, frozen: Any) -> dict[str, np.ndarray]:
        """Values of what is computed from variables alone, and read by what depends on the input."""
        wanted = [
            name
            for name, readers in self._readers.items()
            if (tensor := frozen.serve.graph.get_tensor_by_name(name)).op.name in self._constant
            and (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool)
            and tensor.op.type not in ("Const", "ReadVariableOp")
            and any(one.name not in self._constant for one in readers)
        ]
        return compat.evaluated(frozen.serve, wanted)

    def _size_read(self, tensor: tf.Tensor) -> int | None:
        """Where only a matrix product tells it: shapes that are computed from an open batch hide it."""
        for op in self._readers.get(tensor.name, ()):
            if op.type == "MatMul" and op.inputs[0] is tensor and not op.get_attr("transpose_a"):
                rows = op.inputs[1].shape
                index = 1 if op.get_attr("transpose_b") else 0
                if rows.rank == 2 and rows[index] is not None:
                    return int(rows[index])
        return None

    def _adds_the_first_axis(self, op: tf.Operation) -> bool:
        axis = op.inputs[1].op
        return axis.type == "Const" and int(tf.make_ndarray(axis.get_attr("value"))) == 0


def unknown(count: int) -> np.ndarray:
    """Nothing is known of `count` channels."""
    return np.full(count, np.nan)


def _common(value: np.ndarray) -> np.ndarray:
    """What a constant has at every position of a channel, `(channels,)`."""
    rows = value.reshape(-1, value.shape[-1] if value.ndim else 1).astype(np.float64)
    if not len(rows):
        return unknown(rows.shape[1])
    return np.where((rows == rows[0]).all(axis=0), rows[0], np.nan)
