"""Kernels of few bits end on the values that they were trained against, so that every file has those, `int4` or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.quantization.fake_quant import on_levels
from segopt_callbacks.quantization.operations import KERNELS, bits_of_kernel

_SPACINGS = 4  # of neighbouring floats: what a division and a multiplication leave, there and back


def rounded_as_trained(kernel: np.ndarray, channel_axes: tuple[int, ...], num_bits: int) -> np.ndarray:
    """The values that training computed with; zeros keep their sign, which marks the pruned ones.

    Args:
        kernel: floating, any shape.
        channel_axes: axes of output channels, counted from the end.
        num_bits: 8 or 4.

    Returns:
        the kernel's shape and dtype.

    >>> rounded_as_trained(np.array([[7.0, -14.0], [2.6, 1.1], [-0.0, -0.9]]), (-1,), 4).tolist()
    [[7.0, -14.0], [3.0, 2.0], [-0.0, 0.0]]
    """
    rounded = on_levels(tf.cast(kernel, tf.float32), channel_axes, num_bits).numpy()
    return np.where(kernel == 0, kernel, rounded + np.float32(0)).astype(kernel.dtype)


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
                yield weight, values, rounded_as_trained(values, KERNELS[self._whole[path]][1], self._bits[path])
