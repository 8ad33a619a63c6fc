"""Kernels of few bits end on the values that they were trained against, so that every file has those, `int4` or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.quantization.fake_quant import levels
from segopt_callbacks.quantization.operations import KERNELS, bits_of_kernel

_SPACINGS = 4  # of neighbouring floats: what a division and a multiplication leave, there and back


def on_levels(kernel: np.ndarray, channel_axes: tuple[int, ...], num_bits: int) -> np.ndarray:
    """What `fake_quant.quantized_weight` makes of a kernel; zeros keep their sign, which marks the pruned ones.

    Args:
        kernel: floating, any shape.
        channel_axes: axes of output channels, counted from the end.
        num_bits: 8 or 4.

    Returns:
        the kernel's shape and dtype, `2 ** num_bits - 1` values in each channel at most.

    >>> on_levels(np.array([[7.0, -14.0], [2.6, 1.1], [-0.0, 0.9]]), (-1,), 4).tolist()
    [[7.0, -14.0], [3.0, 2.0], [-0.0, 0.0]]
    """
    values = kernel.astype(np.float32)
    others = tuple(axis for axis in range(kernel.ndim) if axis - kernel.ndim not in channel_axes)
    scale = np.abs(values).max(others, keepdims=True) / np.float32(levels(num_bits))
    steps = np.divide(values, scale, out=np.zeros_like(values), where=scale > 0)
    return np.where(values == 0, values, np.round(steps) * scale + np.float32(0)).astype(kernel.dtype)


class FewBits:
    """The kernels of a model that training rounds to less than 8 bits.

    Args:
        weights: path -> variable, of those that are chosen.
        whole: path -> kind of the operation, see `sites.Sites`.
        num_bits: of kernels.
    """

    def __init__(self, weights: Mapping[str, Any], whole: Mapping[str, str], num_bits: int) -> None:
        bits = {path: bits_of_kernel(kind, num_bits) for path, kind in whole.items() if path in weights}
        self._weights = {path: weights[path] for path in bits if bits[path] < 8}
        self._whole = whole
        self._bits = bits

    def round(self, spared: Mapping[str, Any]) -> None:
        """Writes what training computed with; kernels that share values already are spared."""
        for weight, _, rounded in self._rounded(spared):
            compat.assign(weight, rounded)

    def are_rounded(self, spared: Mapping[str, Any]) -> bool:
        """Whether they are so still."""
        return all(
            np.all(np.abs(values - rounded) <= _SPACINGS * np.spacing(np.abs(rounded)))
            for _, values, rounded in self._rounded(spared)
        )

    def _rounded(self, spared: Mapping[str, Any]) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        for path, weight in self._weights.items():
            if path not in spared:
                values = compat.read(weight)
                yield weight, values, on_levels(values, KERNELS[self._whole[path]][1], self._bits[path])
