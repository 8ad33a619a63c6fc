"""Large arrays, in blocks and in order; pure NumPy."""

from segopt_callbacks.arrays.blocks import blocks, for_each_block
from segopt_callbacks.arrays.ordering import distinct, sortable

__all__ = ["blocks", "distinct", "for_each_block", "sortable"]
