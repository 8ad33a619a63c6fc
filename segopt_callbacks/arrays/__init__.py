"""Large arrays, in blocks and in order; pure NumPy."""

from segopt_callbacks.arrays.blocks import blocks, for_each_block
from segopt_callbacks.arrays.ordering import distinct, sortable
from segopt_callbacks.arrays.rounding import merge_rounded

__all__ = ["blocks", "distinct", "for_each_block", "merge_rounded", "sortable"]
