"""Which TensorFlow operations an integer file computes, and how: the table that `sites` decides by."""

from __future__ import annotations

import re

# Operation -> its argument that is a kernel, and the axes of output channels in it.
KERNELS: dict[str, tuple[str, tuple[int, ...]]] = {
    "Conv2D": ("filter", (-1,)),
    "DepthwiseConv2dNative": ("filter", (-2, -1)),
    "Conv2DBackpropInput": ("filter", (-2,)),
    "MatMul": ("b", (-1,)),
    "BatchMatMulV2": ("y", (-1,)),
}
# LiteRT's own kernels for these read no 4 bits: an `int4` file has 8 there, see `export.ai_edge`.
_NEVER_4_BITS = {"DepthwiseConv2dNative", "Conv2DBackpropInput"}
# LiteRT computes these in 8 bits from a range of their own.
RANGED = {
    *KERNELS,
    *("BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "ConcatV2", "Mean", "Sum"),
    *("Relu", "Relu6", "LeakyRelu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax"),
    *("Sqrt", "Rsqrt", "Exp", "Log", "Abs", "SquaredDifference", "SelectV2", "Pack", "GatherV2", "Cast"),
    *("PartitionedCall", "StatefulPartitionedCall"),  # a grouped convolution that Keras hands to XLA
}
# These hand the range of their input on.
SAME_RANGE = {
    *("Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose", "Pad", "MirrorPad", "StridedSlice", "Slice"),
    *("Split", "SplitV", "Unpack", "Tile", "MaxPool", "ResizeBilinear", "ResizeNearestNeighbor", "DepthToSpace"),
    *("SpaceToDepth", "SpaceToBatchND", "BatchToSpaceND", "ReverseV2", "StopGradient", "BroadcastTo"),
    *("IdentityN", "Max", "Min", "AvgPool"),
}
# One operation of the file: what begins with one of the first goes on through the second, and may end in a third.
BEGINS = {"Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2"}
CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
AFFINE = {"BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv"}
CLIPS = {"Relu", "Relu6"}
ADDS = {"Add", "AddV2", "Sub", "Mul"}
SHAPES = {"Reshape", "Squeeze", "ExpandDims", "Identity", "BatchToSpaceND"}  # the last ends a dilated convolution
# TensorFlow writes these as several operations, which the file has as one.
COMPOSITE = re.compile(r"(?:^|.*/)Gelu(?:_\d+)?/")
SOFTMAXES = {"Softmax", "LogSoftmax"}
# The file gives these ranges, whatever anybody observes.
FIXED = {
    "Sigmoid": (0.0, 255 / 256),
    "Softmax": (0.0, 255 / 256),
    "Tanh": (-1.0, 127 / 128),
    "LogSoftmax": (-255 / 16, 0.0),
}


def bits_of_kernel(kind: str, num_bits: int) -> int:
    """How many bits a kernel has in the file, by the operation that reads it and what is asked for.

    >>> bits_of_kernel("Conv2D", 4), bits_of_kernel("DepthwiseConv2dNative", 4)
    (4, 8)
    """
    return 8 if kind in _NEVER_4_BITS else num_bits
