"""Kernels whose channels can only go together, read as one kernel: one above the other. Pure NumPy.

What residual connections add has to be zero in each summand to leave a file. So a channel of all of them is one unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from segopt_callbacks.pruning.patterns import as_matrix, from_matrix

Read = Callable[[str], np.ndarray]


@dataclass(frozen=True, eq=False)
class Stack:
    """Channels of kernels, read as the columns of one.

    Attributes:
        paths: of the kernels.
        columns: path -> `(units, channels of each)`, indices of the kernel's output channels; empty if the stack is one
            kernel as it is.
    """

    paths: tuple[str, ...]
    columns: Mapping[str, np.ndarray]


class Stacks:
    """Some kernels, each channel of theirs in one stack.

    Args:
        shapes: path -> shape.
        outputs: path -> the axes that are output channels.
        labels: path -> `(output channels,)`, the number of the group that a channel is in, -1 where it is in none.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, tuple[int, ...]],
        labels: Mapping[str, np.ndarray],
    ) -> None:
        self._shapes, self._outputs, self._labels = shapes, outputs, labels
        found = stacks_of({path: labels[path] for path in shapes if path in labels})
        coupled = [one for one in found if len(one.paths) > 1 or not self._is_as_it_is(one)]
        paths = {path for stack in coupled for path in stack.paths}
        self._stacks = [*(Stack((path,), {}) for path in shapes if path not in paths), *coupled]
        self._masks = {path: np.ones(self._channels(path), bool) for path in paths}
        self._missing = {path: int(mask.size) for path, mask in self._masks.items()}

    def __iter__(self) -> Iterator[Stack]:
        return iter(self._stacks)

    def outputs(self, stack: Stack) -> tuple[int, ...]:
        """The axes of the stack that are output channels."""
        return (-1,) if stack.columns else self._outputs[stack.paths[0]]

    def scores(self, stack: Stack, read: Read) -> np.ndarray:
        """The scores of one kernel, or `(weights, units)`: of several over their root mean squares, to compare."""
        return self._stacked(stack, lambda path: _scaled(read(path))) if stack.columns else read(stack.paths[0])

    def flags(self, stack: Stack, read: Read) -> np.ndarray:
        """Bool of one kernel's shape, or `(weights, units)`."""
        return self._stacked(stack, read) if stack.columns else read(stack.paths[0])

    def labels(self, stack: Stack) -> np.ndarray:
        """The group of each unit of whole channels, -1 where it is in none."""
        path = stack.paths[0]
        every = self._labels.get(path, np.full(self._channels(path), -1))
        return every[stack.columns[path][:, 0]] if stack.columns else every

    def target(self, stack: Stack, targets: Mapping[str, float]) -> float:
        """The mean of the sparsities of its kernels, by weights."""
        sizes = {path: self._rows(path) * columns.size for path, columns in stack.columns.items()}
        if not sizes:
            return targets[stack.paths[0]]
        return sum(targets[path] * size for path, size in sizes.items()) / sum(sizes.values())

    def take(self, stack: Stack, mask: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Takes over a mask of the stack, and gives those of kernels that are complete by now, of their shapes."""
        if not stack.columns:
            yield stack.paths[0], mask
        for path, columns in stack.columns.items():
            self._masks[path][columns] = mask[0][:, np.newaxis]
            self._missing[path] -= columns.size
            if not self._missing[path]:
                matrix = np.broadcast_to(self._masks[path], (self._rows(path), self._channels(path)))
                yield path, from_matrix(matrix, self._shapes[path], self._outputs[path])

    def _stacked(self, stack: Stack, read: Read) -> np.ndarray:
        parts = []
        for path, columns in stack.columns.items():
            part = as_matrix(read(path), self._outputs[path])[:, columns]  # (rows, units, channels of each)
            parts.append(np.moveaxis(part, 1, -1).reshape(-1, len(columns)))
        return np.concatenate(parts)

    def _is_as_it_is(self, stack: Stack) -> bool:
        ((path, columns),) = stack.columns.items()
        return columns.shape == (self._channels(path), 1)

    def _channels(self, path: str) -> int:
        return math.prod(self._shapes[path][axis] for axis in self._outputs[path])

    def _rows(self, path: str) -> int:
        return math.prod(self._shapes[path]) // self._channels(path)


def stacks_of(labels: Mapping[str, np.ndarray]) -> list[Stack]:
    """Sorts channels into stacks: those whose groups are in the same kernels.

    >>> for one in stacks_of({"a": np.array([7, 8]), "b": np.array([8, 7]), "c": np.array([-1, -1])}):
    ...     print(one.paths, *(columns.ravel() for columns in one.columns.values()))
    ('a', 'b') [0 1] [1 0]
    ('c',) [0 1]
    """
    units: dict[tuple[str, int], dict[str, list[int]]] = {}
    for path, each in labels.items():
        for channel, label in enumerate(each.tolist()):
            unit = ("", label) if label >= 0 else (path, channel)
            units.setdefault(unit, {}).setdefault(path, []).append(channel)
    alike: dict[tuple[tuple[str, int], ...], list[dict[str, list[int]]]] = {}
    for channels in units.values():
        alike.setdefault(tuple((path, len(one)) for path, one in channels.items()), []).append(channels)
    return [
        Stack(tuple(path for path, _ in kinds), {path: np.array([one[path] for one in found]) for path, _ in kinds})
        for kinds, found in alike.items()
    ]


def _scaled(scores: np.ndarray) -> np.ndarray:
    magnitudes = np.abs(np.asarray(scores, np.float32))
    scale = math.sqrt(float(np.square(magnitudes, dtype=np.float64).mean()))
    return magnitudes / np.float32(scale) if scale else magnitudes
