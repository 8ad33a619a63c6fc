"""The projection that prunes: zeros in given places, after each optimizer step."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.fit import filled, select


class Masked:
    """Projection onto the weights with zeros in given places: `w -> where(mask, w, -0.0)`.

    The mask is a variable of one byte per weight, so that it can change while the compiled step stays. Its zeros are
    negative, so that a checkpoint tells them from a weight that is kept and happens to be 0; see `fit.pruned_before`.

    Args:
        shape: the weight's shape. Everything is kept at first.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._kept = tf.Variable(np.ones(shape, bool), trainable=False, name="mask")
        self._last: np.ndarray | None = None

    def __call__(self, weight: Any) -> tf.Tensor:
        weight = tf.convert_to_tensor(weight)
        return select(tf.convert_to_tensor(self._kept), weight, filled(weight, -0.0))

    @property
    def mask(self) -> np.ndarray:
        """bool, the weight's shape, True where a weight is kept."""
        return compat.read(self._kept) if self._last is None else self._last

    @mask.setter
    def mask(self, mask: np.ndarray) -> None:
        """Replaces the mask, on every replica."""
        self._kept.assign(mask)

    def let_go(self) -> None:
        """Prunes no more, even where a step that somebody keeps was traced with it; `mask` can still be read."""
        self._last = self.mask
        self._kept.assign(np.ones(self._kept.shape, bool))
