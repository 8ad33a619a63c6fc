"""Which weights are pruned together. Pure NumPy.

A pattern cuts a weight into units and gives each a score; `masks` chooses among them. Weights of any rank are read as
a matrix in memory order: `(height * width * in, out)` for a convolution. A column is an output channel of the layer, a
row is a position of the kernel and an input channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segopt_callbacks.rules import require_one_of, require_whole


@dataclass(frozen=True)
class Units:
    """A weight, cut into what is pruned together.

    Attributes:
        scores: one for each unit, float32.
        sizes: weights in each unit; `None` where each unit is one weight.
        first: True for units that go before all others, whatever their scores; `None` where there are none.
        expand: bool for each unit -> bool of the weight's shape.
        all_of: bool of the weight's shape -> for each unit, whether it holds for all its weights.
    """

    scores: np.ndarray
    sizes: np.ndarray | None
    first: np.ndarray | None
    expand: Callable[[np.ndarray], np.ndarray]
    all_of: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pattern:
    """No pattern: each weight by itself."""

    @property
    def multiple(self) -> int:
        """See `channel`."""
        return 1

    @property
    def least_sparsity(self) -> float:
        """The fraction of zeros from which on the pattern is complete, in [0, 1)."""
        return 0.0

    def units(self, scores: np.ndarray, outputs: tuple[int, ...] = (-1,)) -> Units:
        """Cuts a weight into units.

        Args:
            scores: one for each weight; any shape; not negative, but where a unit is one weight.
            outputs: the axes that are the layer's output channels.
        """
        return Units(scores.ravel(), None, None, lambda kept: kept.reshape(scores.shape), np.ravel)


UNSTRUCTURED = Pattern()


@dataclass(frozen=True)
class Block(Pattern):
    """See `block`."""

    rows: int
    columns: int
    pooling: str = "average"

    def units(self, scores: np.ndarray, outputs: tuple[int, ...] = (-1,)) -> Units:
        """A unit is a rectangle of the weight's matrix; its score is pooled from its weights."""
        matrix = as_matrix(scores, outputs)
        starts = [np.arange(0, length, step) for length, step in zip(matrix.shape, self._shape, strict=True)]
        lengths = [np.diff(start, append=length) for start, length in zip(starts, matrix.shape, strict=True)]
        sizes = np.outer(*lengths)
        if self.pooling == "max":
            pooled = _reduce(np.maximum, matrix, starts)
        else:
            pooled = (_reduce(np.add, matrix.astype(np.float64), starts) / sizes).astype(np.float32)

        def expand(kept: np.ndarray) -> np.ndarray:
            blocks = kept.reshape(sizes.shape)
            return from_matrix(blocks.repeat(lengths[0], 0).repeat(lengths[1], 1), scores.shape, outputs)

        def all_of(flags: np.ndarray) -> np.ndarray:
            return _reduce(np.logical_and, as_matrix(flags, outputs), starts).ravel()

        return Units(pooled.ravel(), sizes.ravel(), None, expand, all_of)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.rows, self.columns


@dataclass(frozen=True)
class NOfM(Pattern):
    """See `n_of_m`."""

    n: int
    m: int

    @property
    def least_sparsity(self) -> float:
        """The fraction of zeros from which on no group of `m` keeps more than `n`: `1 - n / m`."""
        return 1 - self.n / self.m

    def units(self, scores: np.ndarray, outputs: tuple[int, ...] = (-1,)) -> Units:
        """A unit is one weight; those that their group of `m` has too many of go first."""
        axis = _input_axis(scores.ndim, outputs)
        by_input = np.moveaxis(scores, axis, -1)
        length = by_input.shape[-1]
        # What fills the last group up scores below everything, as zeros that are pruned already would.
        filled = np.full((*by_input.shape[:-1], -(-length // self.m) * self.m), -1.0, np.float32)
        filled[..., :length] = by_input
        groups = filled.reshape(-1, self.m)
        surplus = np.zeros(groups.shape, bool)
        # Stable: of equal scores in a group, the one that comes first in memory order goes first.
        order = np.argsort(groups, axis=1, kind="stable")
        np.put_along_axis(surplus, order[:, : self.m - self.n], True, axis=1)
        first = np.moveaxis(surplus.reshape(filled.shape)[..., :length], -1, axis)
        return Units(scores.ravel(), None, first.ravel(), lambda kept: kept.reshape(scores.shape), np.ravel)


@dataclass(frozen=True)
class Channel(Pattern):
    """See `channel`."""

    multiple: int = 1

    def units(self, scores: np.ndarray, outputs: tuple[int, ...] = (-1,)) -> Units:
        """A unit is an output channel; its score is the average of its weights."""
        matrix = as_matrix(scores, outputs)
        pooled = matrix.mean(0, dtype=np.float64).astype(np.float32)
        sizes = np.full(matrix.shape[1], matrix.shape[0])

        def expand(kept: np.ndarray) -> np.ndarray:
            return from_matrix(np.broadcast_to(kept, matrix.shape), scores.shape, outputs)

        return Units(pooled, sizes, None, expand, lambda flags: np.all(as_matrix(flags, outputs), axis=0))


def block(rows: int, columns: int, *, pooling: str = "average") -> Pattern:
    """Prunes rectangles of a weight's matrix, `(height * width * in, out)` for a convolution.

    The score of a rectangle is the average, or the maximum, of its weights' scores. Where the matrix does not divide,
    the last rectangles of a row or column are smaller, and their average is that of the weights that they have. As
    many rectangles go as bring the number of zeros nearest to what the sparsity asks for.

    Args:
        rows: of a rectangle, along kernel positions and input channels.
        columns: of a rectangle, along output channels.
        pooling: `"average"` or `"max"`.

    Raises:
        ValueError: for an argument outside its range.

    >>> from segopt_callbacks.pruning.masks import layer_mask
    >>> layer_mask(np.array([[1.0, 2.0, 9.0], [3.0, 4.0, 0.0]], np.float32), 0.6, block(2, 2)).astype(int)
    array([[0, 0, 1],
           [0, 0, 1]])
    """
    _require_counts(rows=rows, columns=columns)
    require_one_of("pooling", pooling, ["average", "max"])
    return Block(rows, columns, pooling)


def n_of_m(n: int = 2, m: int = 4) -> Pattern:
    """Keeps at most `n` of every `m` neighbouring input channels, at each kernel position and output channel.

    `n` counts the *kept* weights; tfmot's `sparsity_m_by_n` counts zeros. Below a sparsity of `1 - n / m`, weights that
    are too many for the pattern go in the order of their scores, over the whole weight. At `1 - n / m` each group of
    `m` keeps exactly `n`; beyond, groups lose more. So the number of zeros is exact at any sparsity. Where input
    channels do not divide by `m`, zeros fill up the last group: with `n` channels or fewer it keeps them all. Others
    then lose more, by score.

    Args:
        n: kept weights, at least 1.
        m: weights in a group, more than `n`.

    Raises:
        ValueError: for an argument outside its range.

    >>> from segopt_callbacks.pruning.masks import layer_mask
    >>> layer_mask(np.array([[1.0], [2.0], [9.0], [3.0]], np.float32), 0.5, n_of_m(2, 4)).astype(int).ravel()
    array([0, 0, 1, 1])
    """
    _require_counts(n=n, m=m)
    if n >= m:
        raise ValueError(f"`n`, the weights kept of every `m`, must be smaller than `m`. Received: n={n}, m={m}.")
    return NOfM(n, m)


def channel(*, multiple: int = 1) -> Pattern:
    """Prunes whole output channels of a layer, which leave exported files.

    The score of a channel is the average of its weights' scores (for magnitudes, its L1 norm: Li et al. 2017,
    https://arxiv.org/abs/1608.08710). The bias, and the scale and offset of a BatchNorm that follows, are zeroed with
    it, so that the channel is zero whatever the input. They are found in the model's inference graph, as are channels
    that are added to one another, which go together. Layers that give the model's output are spared.

    Args:
        multiple: of what the number of channels that stay in a layer is a multiple, the nearest; unless all stay.

    Raises:
        ValueError: for an argument outside its range.

    >>> from segopt_callbacks.pruning.masks import layer_mask
    >>> layer_mask(np.array([[1.0, 2.0], [1.0, 0.1]], np.float32), 0.5, channel()).astype(int)
    array([[0, 1],
           [0, 1]])
    """
    _require_counts(multiple=multiple)
    return Channel(multiple)


def as_matrix(weight: np.ndarray, outputs: tuple[int, ...]) -> np.ndarray:
    """A weight of any rank -> `(positions and inputs, outputs)`, both in memory order.

    >>> as_matrix(np.zeros((3, 3, 8, 16)), (-1,)).shape
    (72, 16)
    """
    moved = np.moveaxis(weight, outputs, range(-len(outputs), 0))
    return moved.reshape(-1, int(np.prod(moved.shape[moved.ndim - len(outputs) :])))


def from_matrix(matrix: np.ndarray, shape: tuple[int, ...], outputs: tuple[int, ...]) -> np.ndarray:
    """The way back from `as_matrix` to a weight of `shape`.

    >>> from_matrix(np.zeros((72, 16)), (3, 3, 8, 16), (-1,)).shape
    (3, 3, 8, 16)
    """
    moved = np.moveaxis(np.empty(shape, bool), outputs, range(-len(outputs), 0)).shape
    return np.moveaxis(matrix.reshape(moved), range(-len(outputs), 0), outputs)


def _input_axis(rank: int, outputs: tuple[int, ...]) -> int:
    """The last axis that is no output channel; of a depthwise kernel, where all channels are outputs, the inputs'."""
    others = [axis for axis in range(-rank, 0) if axis not in outputs]
    return -2 if set(outputs) == {-2, -1} or not others else others[-1]


def _reduce(function: np.ufunc, matrix: np.ndarray, starts: list[np.ndarray]) -> np.ndarray:
    return function.reduceat(function.reduceat(matrix, starts[0], axis=0), starts[1], axis=1)


def _require_counts(**values: object) -> None:
    for name, value in values.items():
        require_whole(name, value, 1)
