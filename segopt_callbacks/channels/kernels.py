"""Convolutions and matrix products: which channels of their answer are zero, and which of their input they read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from segopt_callbacks.channels.elementwise import SIZE_UNKNOWN, link, made_of_zero
from segopt_callbacks.channels.graph import Graph, unknown
from segopt_callbacks.channels.links import Binding, Demand, Link, Need

GROUPED = "a grouped convolution reads channels in groups of equal size"
TWO_INPUTS = "a product of two tensors that both depend on the input"


@dataclass(frozen=True)
class Product:
    """Where a product has its input and its kernel.

    Attributes:
        x: number of the input that holds channels.
        kernel: number of the kernel's.
        read: the axis of the kernel that is input channels, -1 or -2; the other one is output channels.
    """

    x: int = 0
    kernel: int = 1
    read: int = -2

    @property
    def made(self) -> int:
        """The axis of the kernel that is output channels."""
        return -3 - self.read


TRANSPOSED = Product(x=2, read=-1)
_CONVOLUTIONS = {
    "Conv2D": Product(),
    "Conv3D": Product(),
    "Conv2DBackpropInput": TRANSPOSED,
    "Conv3DBackpropInputV2": TRANSPOSED,
}
PRODUCTS = (*_CONVOLUTIONS, "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum")


def product_of(op: tf.Operation) -> Product | str:
    """Where a product of `PRODUCTS`, but a depthwise convolution, has what; or why it cannot be told."""
    if op.type in _CONVOLUTIONS:
        is_last = op.get_attr("data_format") in (b"NHWC", b"NDHWC")
        return _CONVOLUTIONS[op.type] if is_last else "its channels are not the last axis"
    if op.type == "Einsum":
        return _einsum(op.get_attr("equation").decode())
    x, kernel = ("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y")
    if op.get_attr(x):
        return "its input is transposed"
    return Product(read=-1 if op.get_attr(kernel) else -2)


def convolution(op: tf.Operation, graph: Graph) -> Binding:
    """A convolution or matrix product with a kernel that is the same whatever the input."""
    place = product_of(op)
    if isinstance(place, str):
        return Binding(refused=place)
    x, kernel, out = op.inputs[place.x], op.inputs[place.kernel], op.outputs[0]
    if not graph.is_constant(kernel) or kernel.shape.rank is None or kernel.shape.rank < 2:
        return Binding(refused=TWO_INPUTS)
    count = graph.size(x)
    if count is None or graph.size(out) != kernel.shape[place.made]:
        return Binding(refused=SIZE_UNKNOWN)
    if kernel.shape[place.read] != count:
        return Binding(refused=GROUPED)
    claimed = {place.x: (-1,), place.kernel: (-1, -2)}
    links = [_to_kernel(graph, x, kernel, place.read), _to_kernel(graph, out, kernel, place.made)]
    value = graph.value(kernel)
    if graph.is_constant(out) or value is None:  # of weights alone: what is made of them is known, not how
        whole = Need(graph.key(x), None, f"{op.type} {op.name} computes a weight from it")
        return Binding(links=links, needs=[whole], claimed=claimed)
    reads = _reads(value, place) & (graph.channels(x, count) != 0)[:, np.newaxis]
    graph.known[out.name] = np.where(reads.any(axis=0), np.nan, 0.0)
    why = f"{op.type} {op.name} reads it, since it is not zero there"
    return Binding(links=links, demands=[Demand(graph.key(out), graph.key(x), reads, why)], claimed=claimed)


def depthwise(op: tf.Operation, graph: Graph) -> Binding:
    """A depthwise convolution: `multiplier` channels, one after the other, of each channel."""
    x, kernel, out = op.inputs[0], op.inputs[1], op.outputs[0]
    if op.get_attr("data_format") != b"NHWC":
        return Binding(refused="its channels are not the last axis")
    if not graph.is_constant(kernel):
        return Binding(refused=TWO_INPUTS)
    inputs, multiplier = int(kernel.shape[-2]), int(kernel.shape[-1])
    if graph.size(x) != inputs or graph.size(out) != inputs * multiplier:
        return Binding(refused=SIZE_UNKNOWN)
    value = graph.value(kernel)
    known = np.repeat(graph.channels(x, inputs), multiplier)
    is_empty = np.zeros(known.size, bool) if value is None else ~(value != 0).any(axis=(0, 1)).ravel()
    result = np.where((known == 0) | is_empty, 0.0, unknown(known.size))
    graph.known[out.name] = result
    partners = np.repeat(np.arange(inputs), multiplier)
    breaks = (known == 0) & (result != 0)
    links = [link(graph, x, out, partners, np.arange(known.size), breaks, made_of_zero(op))]
    links.append(_to_kernel(graph, x, kernel, -2))
    return Binding(links=links, claimed={0: (-1,), 1: (-2,)})


def multiply_adds(op: tf.Operation, graph: Graph, inputs: int, outputs: int) -> int | None:
    """Multiplications of a product of `PRODUCTS` with so many channels; `None` where its sizes are open.

    Args:
        op: the operation.
        graph: that it is in.
        inputs: channels that it reads.
        outputs: channels that it makes.
    """
    place = Product() if op.type == "DepthwiseConv2dNative" else product_of(op)
    if isinstance(place, str) or not graph.is_constant(op.inputs[place.kernel]):
        return None
    kernel = op.inputs[place.kernel].shape.as_list()
    if graph.size(op.inputs[place.x]) != kernel[place.read]:  # of one group
        inputs = kernel[place.read]
    is_convolution = op.type in _CONVOLUTIONS or op.type == "DepthwiseConv2dNative"
    positions = (op.inputs[2] if place is TRANSPOSED else op.outputs[0]).shape.as_list()[:-1]
    taps = kernel[:-2] if is_convolution else []
    is_hidden = op.type == "MatMul" and op.inputs[0].shape[-1] is None  # its rows are all positions of a batch
    if None in positions[1:] or None in taps or is_hidden:
        return None
    each = int(np.prod([one or 1 for one in positions] + taps, dtype=np.int64))
    return each * outputs * (1 if op.type == "DepthwiseConv2dNative" else inputs)


def _to_kernel(graph: Graph, tensor: tf.Tensor, kernel: tf.Tensor, axis: int) -> Link:
    every = np.arange(int(kernel.shape[axis]))
    return Link(graph.key(tensor), graph.key(kernel, axis), every, every)


def _reads(kernel: np.ndarray, place: Product) -> np.ndarray:
    """`(inputs, outputs)`, whether the kernel has a weight that is not zero between them."""
    used = (kernel != 0).any(axis=tuple(range(kernel.ndim - 2)))
    return used if place.read == -2 else used.T


def _einsum(equation: str) -> Product | str:
    """Where an einsum has what, or why it is no plain product.

    >>> _einsum("abc,cd->abd"), _einsum("...x,yx->...y").read, _einsum("abc,cde->abde")
    (Product(x=0, kernel=1, read=-2), -1, 'the einsum abc,cde->abde gives channels several axes')
    """
    operands, answer = equation.replace(" ", "").split("->")
    first, _, kernel = operands.partition(",")
    read, made = first[-1:], answer[-1:]
    is_product = len(kernel) == 2 and set(kernel) == {read, made} and read != made and first[:-1] == answer[:-1]
    if not is_product or read in answer or made in first:
        return f"the einsum {equation} gives channels several axes"
    return Product(read=-2 if kernel[0] == read else -1)
