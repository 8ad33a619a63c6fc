"""Large arrays, in blocks, in order and in tiles; pure NumPy."""

from segopt_callbacks.arrays.blocks import blocks, for_each_block, row_blocks
from segopt_callbacks.arrays.ordering import distinct, sortable
from segopt_callbacks.arrays.rounding import merge_rounded
from segopt_callbacks.arrays.tiles import axis_tiles, blended

__all__ = ["axis_tiles", "blended", "blocks", "distinct", "for_each_block", "merge_rounded", "row_blocks", "sortable"]
