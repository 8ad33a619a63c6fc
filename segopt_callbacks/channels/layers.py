"""The convolutions and matrix products of a graph: which channels they read and make, and what takes their time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from segopt_callbacks.channels import kernels
from segopt_callbacks.channels.graph import Graph
from segopt_callbacks.channels.links import Key
from segopt_callbacks.errors import SettingsError

DEPTHWISE, TRANSPOSED = "DepthwiseConv2dNative", "Conv2DBackpropInput"


@dataclass(frozen=True)
class Shape:
    """What the time of a layer depends on; sizes of one example.

    Attributes:
        kind: `"Conv2D"`, `DEPTHWISE`, `TRANSPOSED`, or `"MatMul"` for every other product, as one of matrices.
        kernel: shape of the kernel; of a matrix product `(1, 1, inputs, outputs)`.
        reads: height, width and channels of what it reads; of a matrix product `(rows, 1, inputs)`.
        makes: height, width and channels of its answer.
        strides: along height and width.
        dilations: likewise.
        padding: `"SAME"` or `"VALID"`.
    """

    kind: str
    kernel: tuple[int, int, int, int]
    reads: tuple[int, int, int]
    makes: tuple[int, int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    padding: str = "SAME"

    @property
    def is_grouped(self) -> bool:
        """Whether it reads channels in groups."""
        read = self.kernel[3 if self.kind == TRANSPOSED else 2]
        return self.kind != DEPTHWISE and read != self.reads[2]


@dataclass(frozen=True, eq=False)
class Layer:
    """A product, and whose channels it reads and makes.

    Attributes:
        name: of the operation.
        shape: what its time depends on.
        reads: `(channels read,)`, the group of each, -1 where it stays.
        makes: `(channels made,)`, likewise.
    """

    name: str
    shape: Shape
    reads: np.ndarray
    makes: np.ndarray


def products(graph: Graph) -> Iterator[tuple[tf.Operation, Shape, Key, Key]]:
    """Every product whose kernel is the same whatever the input: with the kernel's axes of what it reads and makes.

    Raises:
        SettingsError: for an image whose size is open.
    """
    for op in graph.operations:
        if op.type not in kernels.PRODUCTS:
            continue
        place = kernels.Product() if op.type == DEPTHWISE else kernels.product_of(op)
        if isinstance(place, str) or not graph.is_constant(op.inputs[place.kernel]):
            continue
        kernel, x = op.inputs[place.kernel], op.inputs[place.x]
        if graph.is_constant(x) or kernel.shape.rank is None or not kernel.shape.is_fully_defined():
            continue
        made = -2 if op.type == DEPTHWISE else place.made
        is_image = op.type in ("Conv2D", DEPTHWISE, TRANSPOSED)
        shape = _of_image(op, x, kernel) if is_image else _of_matrix(op, x, kernel, place)
        yield op, shape, graph.key(kernel, place.read), graph.key(kernel, made)


def _of_image(op: tf.Operation, x: tf.Tensor, kernel: tf.Tensor) -> Shape:
    height, width, inputs, outputs = kernel.shape.as_list()
    made = outputs * inputs if op.type == DEPTHWISE else inputs if op.type == TRANSPOSED else outputs
    sizes = [*x.shape[1:3], *op.outputs[0].shape[1:3]]
    if None in sizes:
        raise SettingsError(
            'scope="latency" times layers on images of one size; give `Input` or the training data a fixed height and '
            f"width (tf.ensure_shape in a tf.data.Dataset). Received: {op.name}, which reads {x.shape}."
        )
    padding = op.get_attr("padding").decode()
    return Shape(
        op.type,
        (height, width, inputs, outputs),
        (sizes[0], sizes[1], x.shape[-1] or inputs),
        (sizes[2], sizes[3], made),
        tuple(op.get_attr("strides")[1:3]),
        tuple(op.get_attr("dilations")[1:3]),
        padding if padding in ("SAME", "VALID") else "SAME",
    )


def _of_matrix(op: tf.Operation, x: tf.Tensor, kernel: tf.Tensor, place: kernels.Product) -> Shape:
    """As many multiplications in one product of matrices; positions that are open count as one."""
    taps = int(np.prod(kernel.shape[:-2], dtype=np.int64)) if op.type.startswith("Conv3D") else 1
    around = x if op.type == "Conv3DBackpropInputV2" else op.outputs[0]
    rows = int(np.prod([one or 1 for one in around.shape.as_list()[1:-1]], dtype=np.int64))
    inputs, outputs = int(kernel.shape[place.read]), int(kernel.shape[place.made])
    return Shape("MatMul", (1, 1, inputs, outputs), (rows * taps, 1, inputs), (rows * taps, 1, outputs))
