"""A normalization whose scale stands in the kernel before it."""

from __future__ import annotations

from typing import Any, Protocol


class Folded(Protocol):
    """A BatchNormalization whose scale was moved into a kernel.

    Attributes:
        layer: the BatchNormalization.
        is_frozen: whether training computes with the layer's moving statistics, and keeps them.
    """

    layer: Any
    is_frozen: bool

    def hold(self, model: Any) -> None:
        """Gives every channel its scale again, after the statistics have changed."""
