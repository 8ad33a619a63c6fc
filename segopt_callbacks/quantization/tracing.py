"""One call of a model, operation by operation: what is made from its inputs, by names that stay the same.

A tensor is known by the name of the operation that makes it, without the model's own scope, so that the same tensor is
found again when the training step, an evaluation or an export is traced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.quantization.operations import ADDS, CALLS, KERNELS

_AS_IT_STANDS = {"Identity", "ReadVariableOp", "Cast"}


@dataclass
class Made:
    """An operation of the trace."""

    name: str
    kind: str
    inputs: list[Any]  # names of tensors that come from the model's input, None for others
    output: tf.Tensor
    readers: list[Made] = field(default_factory=list)


class Names:
    """What tensors are called inside a call of the model, whoever calls it.

    Args:
        inputs: tensors that the model is called with, in order.

    >>> with tf.Graph().as_default(), tf.name_scope("net"):
    ...     given = tf.constant(1.0)
    ...     names = Names([given])
    ...     with tf.name_scope("conv"):
    ...         names.of(given), names.of(tf.identity(given))
    ('input_0', 'conv/Identity')
    """

    def __init__(self, inputs: Sequence[tf.Tensor]) -> None:
        scope = compat.current_scope()
        self._prefix = f"{scope}/" if scope else ""
        self._inputs = {id(tensor): f"input_{index}" for index, tensor in enumerate(inputs)}

    def of(self, tensor: tf.Tensor) -> str:
        """The name of a symbolic tensor."""
        if id(tensor) in self._inputs:
            return self._inputs[id(tensor)]
        return tensor.name.removeprefix(self._prefix).removesuffix(":0")


class Trace:
    """A hook that records what is made from the model's inputs."""

    def __init__(self, inputs: Sequence[tf.Tensor], variables: Mapping[int, str]) -> None:
        self.names = Names(inputs)
        self._graph = compat.current_graph()
        self.made: dict[str, Made] = {}
        self.inputs = {self.names.of(tensor): tensor for tensor in inputs}
        self.kernels: dict[str, str | None] = {}
        self.whole: dict[str, set[str]] = {}  # see `Sites.whole`
        self.operands: list[tuple[str, str]] = []  # see `Sites.constants`
        self._from_input = set(self.inputs)
        self._variables = variables
        self._read: dict[str, str] = {}
        self._is_read: str | None = None

    def before(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Remembers kernels."""
        if kind == "ReadVariableOp":
            self._is_read = self._variables.get(id(arguments["resource"]))
        if kind not in KERNELS:
            return arguments
        name = KERNELS[kind][0]
        return {**arguments, name: self.kernel(arguments[name], kind)}

    def kernel(self, given: Any, kind: str) -> tf.Tensor:
        """Remembers what an operation of this kind multiplies by, unless that is computed from the input."""
        kernel = tf.convert_to_tensor(given)  # a variable is read here
        if self.names.of(kernel) not in self._from_input:
            path = self._variables.get(id(compat.handle_of(given)))
            behind, is_whole = (path, True) if path else self._variable_behind(kernel)
            self.kernels[self.names.of(kernel)] = behind
            if behind is not None:
                self.whole.setdefault(behind, set()).add(kind if is_whole else "")
        return kernel

    def _variable_behind(self, tensor: tf.Tensor) -> tuple[str | None, bool]:
        """The path of the variable that a tensor is made of, and whether it is that variable as it stands."""
        is_whole = True
        while self.names.of(tensor) not in self._read and len(tensor.op.inputs) > 0:
            is_whole &= tensor.op.type in _AS_IT_STANDS
            tensor = tensor.op.inputs[0]
        return self._read.get(self.names.of(tensor)), is_whole

    def after(self, operation: tf.Operation) -> None:
        """Records an operation."""
        if operation.type == "ReadVariableOp" and self._is_read is not None:
            self._read[self.names.of(operation.outputs[0])] = self._is_read
        if operation.graph is not self._graph:  # of a branch or loop, into which nobody looks
            return
        self._remember_constant(operation)
        read = [self.names.of(tensor) for tensor in operation.inputs]
        # What a function of its own gives has not been seen being made.
        calls = {name for name, tensor in zip(read, operation.inputs, strict=True) if tensor.op.type in CALLS}
        for tensor in operation.inputs:
            if tensor.op.type in CALLS:
                self._add(tensor, [])
        self._from_input |= calls
        known = [name if name in self._from_input else None for name in read]
        if any(known) and operation.outputs:
            made = [self._add(tensor, known) for tensor in operation.outputs]
            for one in {one for one in known if one in self.made}:
                self.made[one].readers.append(made[0])

    def _remember_constant(self, operation: tf.Operation) -> None:
        if operation.type not in ADDS:
            return
        tensors = {self.names.of(tensor): tensor for tensor in operation.inputs}
        constants = [name for name in tensors if name not in self._from_input and tensors[name].shape.rank != 0]
        others = [name for name in tensors if name in self._from_input]
        self.operands += [(other, constant) for other in others for constant in constants]

    def _add(self, tensor: tf.Tensor, read: list[str | None]) -> Made:
        name = self.names.of(tensor)
        self._from_input.add(name)
        return self.made.setdefault(name, Made(name, tensor.op.type, read, tensor))


def given_tensors(arguments: tuple[Any, ...], options: Mapping[str, Any]) -> list[tf.Tensor]:
    """The tensors that a model is called with, in order."""
    return [one for one in tf.nest.flatten([*arguments, *options.values()]) if tf.is_tensor(one)]
