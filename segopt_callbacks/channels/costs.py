"""What layers cost, by how many of their channels are left: timed at a few widths, and fitted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segopt_callbacks.channels.layers import DEPTHWISE, TRANSPOSED, Layer, Shape

WIDTHS = (0.25, 1.0)  # fractions of the channels that are read, and made, at which a layer is timed
Clock = Callable[[Sequence[Shape]], list[float]]


@dataclass(frozen=True, eq=False)
class Costs:
    """Milliseconds of layers.

    Fewer channels never cost more, since no part is negative.

    Attributes:
        layers: whose costs they are.
        parts: `(layers, 4)`, see `fitted`.
    """

    layers: tuple[Layer, ...]
    parts: np.ndarray

    def of(self, reads: np.ndarray, makes: np.ndarray) -> np.ndarray:
        """Milliseconds of all layers together.

        Args:
            reads: `(..., layers)`, the fraction of the channels read that are left, in [0, 1].
            makes: likewise, of the channels made.

        Example:
            >>> shape = Shape("MatMul", (1, 1, 8, 8), (1, 1, 8), (1, 1, 8))
            >>> layer = Layer("a", shape, np.zeros(8), np.zeros(8))
            >>> costs = Costs((layer,), np.array([[0.0, 0.0, 0.0, 16.0]]))
            >>> costs.of(np.array([[1.0], [0.5], [0.5]]), np.array([[1.0], [1.0], [0.5]]))
            array([16.,  8.,  4.])
        """
        whole, read, made, both = self.parts.T
        return np.asarray((whole + read * reads + made * makes + both * reads * makes).sum(-1))


def fitted(timed: np.ndarray) -> np.ndarray:
    """The parts of a layer's time that come nearest to what was timed, by least squares, none of them negative.

    With fractions `r` of its channels read and `m` made, a layer takes `a + b r + c m + d r m` milliseconds.

    Args:
        timed: `(2, 2)`, milliseconds at `WIDTHS`.

    Returns:
        `(4,)`, `a` to `d`: in any case, for what is read, for what is made, for what is multiplied.

    >>> fitted(np.array([[1.0, 2.0], [1.5, 5.0]])).round(2)
    array([0.5 , 0.  , 0.55, 3.92])
    """
    read, made = (one.ravel() for one in np.meshgrid(WIDTHS, WIDTHS, indexing="ij"))
    columns = np.stack([np.ones(4), read, made, read * made], 1)
    best, least = np.zeros(4), np.inf
    for used in itertools.product((False, True), repeat=4):  # the parts that are not zero
        parts = np.zeros(4)
        parts[list(used)] = np.linalg.lstsq(columns[:, used], timed.ravel(), rcond=None)[0]
        error = float(np.square(columns @ parts - timed.ravel()).sum())
        if (parts >= -1e-12).all() and error < least:
            best, least = np.maximum(parts, 0), error
    return best


def measured(layers: Sequence[Layer], clock: Clock) -> Costs:
    """Times layers at four widths each; those of one shape once.

    Args:
        layers: whose costs are asked for.
        clock: shapes -> milliseconds of each.
    """
    wanted = [[[at(layer.shape, read, made) for made in WIDTHS] for read in WIDTHS] for layer in layers]
    every = list(dict.fromkeys(shape for layer in wanted for row in layer for shape in row))
    found = dict(zip(every, clock(every), strict=True))
    times = [np.array([[found[shape] for shape in row] for row in layer]) for layer in wanted]
    return Costs(tuple(layers), np.array([fitted(one) for one in times]))


def at(shape: Shape, read: float, made: float) -> Shape:
    """A layer of fewer channels, one at least; one that reads channels in groups stays whole.

    >>> at(Shape("Conv2D", (3, 3, 8, 16), (4, 4, 8), (4, 4, 16)), 0.5, 0.25).kernel
    (3, 3, 4, 4)
    """
    if shape.is_grouped:
        return shape
    height, width, first, second = shape.kernel
    if shape.kind == DEPTHWISE:  # makes what it reads
        inputs = max(round(made * first), 1)
        kernel, outputs = (height, width, inputs, second), inputs * second
    else:
        inputs, outputs = max(round(read * shape.reads[2]), 1), max(round(made * shape.makes[2]), 1)
        kernel = (height, width, *((outputs, inputs) if shape.kind == TRANSPOSED else (inputs, outputs)))
    return replace(shape, kernel=kernel, reads=(*shape.reads[:2], inputs), makes=(*shape.makes[:2], outputs))
