"""The channels that stay -> a graph of these alone: its constants and variables cut, its shapes rewritten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.channels import slices
from segopt_callbacks.channels.graph import Graph
from segopt_callbacks.channels.links import Kept


@dataclass
class Cut:
    """A graph on its way.

    Attributes:
        graph: what it is cut from.
        kept: its channels that stay.
        nodes: name -> what is left of each operation.
        added: what else it needs.
    """

    graph: Graph
    kept: Kept
    nodes: dict[str, Any]
    added: list[Any] = field(default_factory=list)

    def of(self, tensor: tf.Tensor, axis: int = -1) -> np.ndarray | None:
        """Bool of each channel of a tensor; `None` where all stay."""
        return self.kept.of(self.graph.key(tensor, axis))

    def value(self, tensor: tf.Tensor) -> np.ndarray:
        """The value of a constant that a rule has read, and that must be there."""
        value = self.graph.value(tensor)
        if value is None:
            raise RuntimeError(f"a rule of channels must only cut what it can read. Received: {tensor.name}.")
        return value

    def constant(self, name: str, value: np.ndarray) -> str:
        """Adds a constant; returns its name."""
        node = compat.constant_node(self.free(name), value)
        self.added.append(node)
        return str(node.name)

    def free(self, name: str) -> str:
        """A name that nothing has, beginning with `name`."""
        taken = {*self.nodes, *(node.name for node in self.added)}
        return next(one for one in (name, *(f"{name}_{k}" for k in range(len(taken) + 1))) if one not in taken)


def cut(definition: Any, graph: Graph, kept: Kept) -> Any:
    """The definition of the graph without what is not kept.

    Args:
        definition: the whole one; not changed.
        graph: the graph, read.
        kept: its channels that stay.
    """
    nodes = {node.name: compat.copied_node(node) for node in definition.node}
    work = Cut(graph, kept, nodes)
    for op in graph.operations:
        if op.type == "Const":
            _cut_constant(op, work)
        elif op.type in _REWRITERS:
            _REWRITERS[op.type](op, work)
    return compat.definition_of([*work.nodes.values(), *work.added], definition)


def cut_value(value: np.ndarray, name: str, kept: Kept) -> np.ndarray | None:
    """What is left of a variable or constant; `None` where that is all of it."""
    masks = {axis: kept.of((name, axis)) for axis in (-1, -2) if value.ndim >= -axis}
    found = {axis: mask for axis, mask in masks.items() if mask is not None}
    for axis, mask in found.items():
        value = np.compress(mask, value, axis=axis)
    return np.ascontiguousarray(value) if found else None


def _cut_constant(op: tf.Operation, work: Cut) -> None:
    value = cut_value(work.value(op.outputs[0]), op.outputs[0].name, work.kept)
    if value is not None:
        work.nodes[op.name] = compat.constant_node(op.name, value)


def _shape_of_original(op: tf.Operation, work: Cut) -> None:
    """Lets `Shape` tell what it told before: what is computed from it need not know."""
    mask, shape = work.of(op.inputs[0]), op.inputs[0].shape
    if mask is None:
        return
    dtype = op.outputs[0].dtype
    if shape.is_fully_defined():
        work.nodes[op.name] = compat.constant_node(op.name, np.array(shape.as_list(), dtype.as_numpy_dtype))
        return
    node = work.nodes[op.name]
    node.name = work.free(f"{op.name}/cut")
    work.added.append(node)
    del work.nodes[op.name]
    _with_last(node.name, mask.size, shape.rank, dtype, work, name=op.name)


def _shape_given(number: int) -> Callable[[tf.Operation, Cut], None]:
    """For operations that are told the shape of their output by input `number`."""

    def rewrite(op: tf.Operation, work: Cut) -> None:
        out = op.outputs[0]
        mask = work.of(out)
        if mask is None:
            return
        given, sizes = op.inputs[number], out.shape.as_list()
        if sizes[:-1].count(None) <= (1 if op.type == "Reshape" else 0):
            value = np.array([-1 if one is None else one for one in sizes[:-1]] + [mask.sum()])
            name = work.constant(f"{op.name}/kept_shape", value.astype(given.dtype.as_numpy_dtype))
        else:
            name = _with_last(work.nodes[op.name].input[number], int(mask.sum()), len(sizes), given.dtype, work)
        work.nodes[op.name].input[number] = name

    return rewrite


def _with_last(shape: str, last: int, rank: int, dtype: tf.DType, work: Cut, name: str = "") -> str:
    """A shape that is another one but for its last size."""
    kind = dtype.as_numpy_dtype
    name = name or work.free(f"{shape.partition(':')[0]}/kept")
    begin = work.constant(f"{name}/begin", np.zeros(1, kind))
    size = work.constant(f"{name}/size", np.array([rank - 1], kind))
    taken = compat.node("Slice", work.free(f"{name}/others"), [shape, begin, size], T=dtype, Index=dtype)
    work.added.append(taken)
    count = work.constant(f"{name}/last", np.array([last], kind))
    axis = work.constant(f"{name}/axis", np.zeros((), np.int32))
    work.added.append(compat.node("ConcatV2", name, [taken.name, count, axis], T=dtype, Tidx=tf.int32, N=2))
    return name


def _split(op: tf.Operation, work: Cut) -> None:
    x = op.inputs[1] if op.type == "Split" else op.inputs[0]
    axis = op.inputs[0] if op.type == "Split" else op.inputs[2]
    if work.of(x) is None or int(work.value(axis)) % x.shape.rank != x.shape.rank - 1:
        return
    masks = [work.of(out) for out in op.outputs]
    sizes = [out.shape[-1] if mask is None else int(mask.sum()) for out, mask in zip(op.outputs, masks, strict=True)]
    node = work.nodes[op.name]
    number = 1 if op.type == "Split" else 0
    inputs = [node.input[number], work.constant(f"{op.name}/kept_sizes", np.array(sizes, np.int32))]
    inputs.append(work.constant(f"{op.name}/axis", np.array(-1, np.int32)))
    made = compat.node("SplitV", op.name, inputs, T=x.dtype, Tlen=tf.int32, num_split=len(sizes))
    work.nodes[op.name] = made


def _slice(op: tf.Operation, work: Cut) -> None:
    mask, run = work.of(op.inputs[0]), slices.run_of(op, work.graph)
    begin = work.graph.value(op.inputs[1])
    if mask is None or isinstance(run, str):
        return
    place = -1 if op.type == "Slice" else slices.place_of_channels(op)
    if place is None or begin is None:  # it takes all channels, whatever their number
        return
    first, count = int(mask[: run.start].sum()), int(mask[run.start : run.stop].sum())
    ends = first + count if op.type == "StridedSlice" else count
    for number, entry in ((1, first), (2, ends)):
        value = np.array(work.value(op.inputs[number]))
        value[place] = entry
        work.nodes[op.name].input[number] = work.constant(f"{op.name}/kept_{number}", value)


def _pad(op: tf.Operation, work: Cut) -> None:
    mask, widths = work.of(op.outputs[0]), np.array(work.graph.value(op.inputs[1]))
    if mask is None or not widths[-1].any():
        return
    first, last = (int(one) for one in widths[-1])
    widths[-1] = mask[:first].sum(), mask[mask.size - last :].sum()
    work.nodes[op.name].input[1] = work.constant(f"{op.name}/kept_paddings", widths)


def _squeeze(op: tf.Operation, work: Cut) -> None:
    """Names the axes that go, where all of size 1 do: the last channel that is left would go with them."""
    sizes = op.inputs[0].shape.as_list()
    if work.of(op.inputs[0]) is not None and not op.get_attr("squeeze_dims"):
        axes = [axis for axis, size in enumerate(sizes[:-1]) if size == 1]
        work.nodes[op.name].attr["squeeze_dims"].list.i.extend(axes)


_REWRITERS: dict[str, Callable[[tf.Operation, Cut], None]] = {
    "Shape": _shape_of_original,
    "Reshape": _shape_given(1),
    "Conv2DBackpropInput": _shape_given(0),
    "Conv3DBackpropInputV2": _shape_given(0),
    "Split": _split,
    "SplitV": _split,
    "Slice": _slice,
    "StridedSlice": _slice,
    "Pad": _pad,
    "Squeeze": _squeeze,
}
