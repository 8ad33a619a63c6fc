"""A model's operations -> where an integer file rounds: which tensors have a range, and which operations it lacks.

The model is traced for inference once. Every operation is seen, those of layers, of custom layers, and raw ones in a
subclassed `call` alike. A tensor is known by the name of the operation that makes it, without the model's own scope, so
that the same tensor is found again when the training step, an evaluation or an export is traced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from segopt_callbacks import compat

# Operation -> its argument that is a kernel, and the axes of output channels in it.
KERNELS: dict[str, tuple[str, tuple[int, ...]]] = {
    "Conv2D": ("filter", (-1,)),
    "DepthwiseConv2dNative": ("filter", (-2, -1)),
    "Conv2DBackpropInput": ("filter", (-2,)),
    "MatMul": ("b", (-1,)),
    "BatchMatMulV2": ("y", (-1,)),
}
# LiteRT's own kernels for these read no 4 bits: an `int4` file has 8 there, see `export.ai_edge`.
_NEVER_4_BITS = {"DepthwiseConv2dNative", "Conv2DBackpropInput"}
# LiteRT computes these in 8 bits from a range of their own.
_RANGED = {
    *KERNELS,
    *("BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "ConcatV2", "Mean", "Sum"),
    *("Relu", "Relu6", "LeakyRelu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax"),
    *("Sqrt", "Rsqrt", "Exp", "Abs", "SquaredDifference", "Pack", "GatherV2", "Cast"),
    *("PartitionedCall", "StatefulPartitionedCall"),  # a grouped convolution that Keras hands to XLA
}
# These hand the range of their input on.
_SAME_RANGE = {
    *("Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose", "Pad", "MirrorPad", "StridedSlice", "Slice"),
    *("Split", "SplitV", "Unpack", "Tile", "MaxPool", "ResizeBilinear", "ResizeNearestNeighbor", "DepthToSpace"),
    *("SpaceToDepth", "SpaceToBatchND", "BatchToSpaceND", "ReverseV2", "StopGradient", "BroadcastTo"),
    *("IdentityN", "Max", "Min", "AvgPool"),
}
# One operation of the file: what begins with one of the first goes on through the second, and may end in a third.
_BEGINS = {"Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_AFFINE = {"BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv"}
_CLIPS = {"Relu", "Relu6"}
ADDS = {"Add", "AddV2", "Sub", "Mul"}
_SHAPES = {"Reshape", "Squeeze", "ExpandDims", "Identity", "BatchToSpaceND"}  # the last ends a dilated convolution
# TensorFlow writes these as several operations, which the file has as one.
_COMPOSITE = re.compile(r"(?:^|.*/)Gelu(?:_\d+)?/")
# The file gives these ranges, whatever anybody observes.
_FIXED = {
    "Sigmoid": (0.0, 255 / 256),
    "Softmax": (0.0, 255 / 256),
    "Tanh": (-1.0, 127 / 128),
    "LogSoftmax": (-255 / 16, 0.0),
}


def bits_of_kernel(kind: str, num_bits: int) -> int:
    """How many bits a kernel has in the file, by the operation that reads it and what is asked for.

    >>> bits_of_kernel("Conv2D", 4), bits_of_kernel("DepthwiseConv2dNative", 4)
    (4, 8)
    """
    return 8 if kind in _NEVER_4_BITS else num_bits


@dataclass(frozen=True)
class Sites:
    """Where an integer file rounds what a model computes.

    Attributes:
        activations: names of the tensors that have a range, in the order in which they are computed.
        fixed: of some of them, the range that the file gives them: name -> lowest, highest value.
        kernels: names of tensors that are kernels -> path of the variable they are made of, `None` where of several.
        constants: pairs of names: a tensor, and what is computed from weights alone and added to it, or multiplied by,
            in 8 bits; such as scale and shift of a normalisation that no convolution takes in.
        unknown: operations on floats that have no integer form here, as `name (kind)`.
    """

    activations: tuple[str, ...]
    fixed: Mapping[str, tuple[float, float]]
    kernels: Mapping[str, str | None]
    constants: frozenset[tuple[str, str]]
    unknown: tuple[str, ...]


@dataclass
class _Made:
    """An operation of the trace."""

    name: str
    kind: str
    inputs: list[Any]  # names of tensors that come from the model's input, None for others
    output: tf.Tensor
    readers: list[_Made] = field(default_factory=list)


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


class _Trace:
    """A hook that records what is made from the model's inputs."""

    def __init__(self, inputs: Sequence[tf.Tensor], variables: Mapping[int, str]) -> None:
        self.names = Names(inputs)
        self.made: dict[str, _Made] = {}
        self.inputs = {self.names.of(tensor): tensor for tensor in inputs}
        self.kernels: dict[str, str | None] = {}
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
        return {**arguments, name: self.kernel(arguments[name])}

    def kernel(self, given: Any) -> tf.Tensor:
        """Remembers what an operation multiplies by, unless that is computed from the input."""
        kernel = tf.convert_to_tensor(given)  # a variable is read here
        if self.names.of(kernel) not in self._from_input:
            path = self._variables.get(id(compat.handle_of(given)))
            self.kernels[self.names.of(kernel)] = path or self._variable_behind(kernel)
        return kernel

    def _variable_behind(self, tensor: tf.Tensor) -> str | None:
        while self.names.of(tensor) not in self._read and len(tensor.op.inputs) > 0:
            tensor = tensor.op.inputs[0]
        return self._read.get(self.names.of(tensor))

    def after(self, operation: tf.Operation) -> None:
        """Records an operation."""
        if operation.type == "ReadVariableOp" and self._is_read is not None:
            self._read[self.names.of(operation.outputs[0])] = self._is_read
        self._remember_constant(operation)
        read = [self.names.of(tensor) for tensor in operation.inputs]
        # What a function of its own gives has not been seen being made.
        calls = {name for name, tensor in zip(read, operation.inputs, strict=True) if tensor.op.type in _CALLS}
        for tensor in operation.inputs:
            if tensor.op.type in _CALLS:
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

    def _add(self, tensor: tf.Tensor, read: list[str | None]) -> _Made:
        name = self.names.of(tensor)
        self._from_input.add(name)
        return self.made.setdefault(name, _Made(name, tensor.op.type, read, tensor))


def find_sites(model: Any, inputs: Any) -> Sites:
    """Traces a model for inference and finds where an integer file rounds.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, batch first.

    Returns:
        the sites.

    Raises:
        ValueError: if the model cannot be traced.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> layers = [keras.layers.Conv2D(4, 3, name="a"), keras.layers.ReLU(name="b"), keras.layers.Dense(2, name="c")]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> len(find_sites(model, tf.TensorSpec((None, 8, 8, 3))).activations)
        3
    """
    traces: list[_Trace] = []
    outputs: list[tf.Tensor] = []

    variables = {id(compat.handle_of(one)): compat.variable_path(one) for one in model.variables}

    def watched(call: Any, *arguments: Any, **options: Any) -> Any:
        traces.append(_Trace(given_tensors(arguments, options), variables))
        with compat.watched_operations(traces[-1]):
            answer = call(*arguments, **options)
        outputs.extend(tf.nest.flatten(answer))
        return answer

    def convolve(convolution: Any, images: Any, kernel: Any) -> Any:
        return convolution(images, traces[-1].kernel(kernel))

    undos = [compat.around_call(model, watched), compat.unfuse(model)]
    undos += [compat.around_method(*one, convolve) for one in compat.functions_of_their_own(model).items()]
    try:
        with compat.float32_compute(model):  # as it will be exported
            compat.inference_graph(model, inputs)
    finally:
        for undo in undos:
            undo()
    (trace,) = traces
    return _sites(trace, {trace.names.of(tensor) for tensor in outputs})


def given_tensors(arguments: tuple[Any, ...], options: Mapping[str, Any]) -> list[tf.Tensor]:
    """The tensors that a model is called with, in order."""
    return [one for one in tf.nest.flatten([*arguments, *options.values()]) if tf.is_tensor(one)]


def _sites(trace: _Trace, outputs: set[str]) -> Sites:
    floats = {name: made for name, made in trace.made.items() if made.output.dtype.is_floating}
    ranged = [name for name, tensor in trace.inputs.items() if tensor.dtype.is_floating]
    fixed, unknown = {}, []
    for name, made in floats.items():
        if made.kind in _SAME_RANGE or _is_inside_composite(made):
            continue
        if not _has_integer_form(made):
            unknown.append(f"{name} ({made.kind})")
        if name in outputs or not _is_absorbed(made, trace):
            ranged.append(name)
            if made.kind in _FIXED:
                fixed[name] = _FIXED[made.kind]
    constants = [pair for pair in trace.operands if not (pair[0] in floats and _is_absorbed(floats[pair[0]], trace))]
    return Sites(tuple(ranged), fixed, trace.kernels, frozenset(constants), tuple(unknown))


def _has_integer_form(made: _Made) -> bool:
    if made.kind in _CALLS:  # a function of its own, into which nobody looks, is known if it is a convolution
        kinds = compat.function_kinds(made.output.op) & _RANGED
        return bool(kinds) and kinds <= KERNELS.keys()
    return made.kind in _RANGED or _COMPOSITE.match(made.name) is not None


def _is_inside_composite(made: _Made) -> bool:
    scope = _COMPOSITE.match(made.name)
    return scope is not None and bool(made.readers) and all(one.name.startswith(scope[0]) for one in made.readers)


def _is_absorbed(made: _Made, trace: _Trace) -> bool:
    """Whether the one operation that reads this tensor is the same operation in the file."""
    readers = made.readers
    while len(readers) == 1 and readers[0].kind in _SHAPES:
        readers = readers[0].readers
    if len(readers) != 1:
        return False
    reader = readers[0]
    from_input = [name for name in reader.inputs if name is not None]
    if reader.kind in _AFFINE and len(from_input) == 1:  # its other argument is constant
        return _begins_with_kernel(made, trace, biased=reader.kind == "BiasAdd")
    return reader.kind in _CLIPS and (made.kind in ADDS or _begins_with_kernel(made, trace, biased=True))


def _begins_with_kernel(made: _Made | None, trace: _Trace, *, biased: bool) -> bool:
    """Whether a tensor is a convolution's, or what constants of each channel have made of it."""
    while made is not None:
        from_input = [name for name in made.inputs if name is not None]
        if made.kind in _CALLS:
            return True
        if made.kind in _BEGINS:
            return len(from_input) == 1  # a product of two tensors (attention) takes nothing in
        if made.kind == "Conv2DBackpropInput":
            return biased  # LiteRT's transposed convolution adds a bias, and folds nothing else
        if made.kind not in _AFFINE | _SHAPES or len(from_input) != 1 or len(made.readers) > 1:
            return False
        biased = biased and made.kind in {"BiasAdd", *_SHAPES}
        made = trace.made.get(from_input[0])
    return False
