"""Operation -> what it makes of channels; whatever is not here leaves the channels of its inputs and outputs whole."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from segopt_callbacks.channels import elementwise, kernels, moving
from segopt_callbacks.channels.graph import Graph
from segopt_callbacks.channels.links import Binding, Need

Rule = Callable[[tf.Operation, Graph], Binding]
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")  # those that are not opened: with state of their own

RULES: dict[str, Rule] = {
    **dict.fromkeys(elementwise.FUNCTIONS, elementwise.elementwise),
    "Cast": elementwise.cast,
    "FakeQuantWithMinMaxVars": elementwise.fake_quant,
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), elementwise.batch_norm),
    **dict.fromkeys(kernels.PRODUCTS, kernels.convolution),
    "DepthwiseConv2dNative": kernels.depthwise,
    **dict.fromkeys(("AvgPool", "AvgPool3D", "MaxPool", "MaxPool3D"), moving.pooled),
    **dict.fromkeys(("ResizeArea", "ResizeBicubic", "ResizeBilinear", "ScaleAndTranslate"), moving.resized),
    "IdentityN": moving.copied,
    "ResizeNearestNeighbor": moving.passed_on,
    **dict.fromkeys(("All", "Any", "Max", "Mean", "Min", "Prod", "Sum"), moving.reduced),
    "Transpose": moving.transposed,
    "ExpandDims": moving.one_more_axis,
    "Squeeze": moving.one_axis_less,
    "Reshape": moving.reshaped,
    "Tile": moving.tiled,
    **dict.fromkeys(("MirrorPad", "Pad", "PadV2"), moving.padded),
    **dict.fromkeys(("BatchToSpaceND", "SpaceToBatchND"), moving.spread),
    "ConcatV2": moving.joined,
    "Pack": moving.stacked,
    **dict.fromkeys(("Split", "SplitV"), moving.parted),
    **dict.fromkeys(("Slice", "StridedSlice"), moving.sliced),
    "GatherV2": moving.looked_up,
    "Shape": moving.shape_read,
}


def bind(op: tf.Operation, graph: Graph) -> Binding:
    """What an operation makes of the channels of its inputs and outputs, complete: what is not said stays whole."""
    is_variable = any(one.name in graph.variables for one in op.outputs)
    if is_variable or op.type in ("Const", "ReadVariableOp") or _is_copy(op, graph):
        return Binding()
    rule = RULES.get(op.type)
    binding = Binding(refused=_unknown(op)) if rule is None else rule(op, graph)
    if binding.refused:
        binding = Binding(refused=f"{op.type} {op.name}: {binding.refused}")
        graph.known.update({one.name: elementwise.unknown(graph.size(one) or 1) for one in op.outputs})
    binding.needs += _whole(op, graph, binding)
    return binding


def _whole(op: tf.Operation, graph: Graph, binding: Binding) -> list[Need]:
    """All axes that nothing ties."""
    needs = []
    for number, tensor in enumerate(op.inputs):
        why = binding.refused or f"{op.type} {op.name} reads it as a whole"
        free = {-1, -2} - set(binding.claimed.get(number, ()))
        needs += [Need(graph.key(tensor, axis), None, why) for axis in sorted(free)]
    for tensor in op.outputs:
        why = binding.refused or f"{op.type} {op.name} computes it from other weights"
        axes = (-1, -2) if binding.refused else (-2,)
        needs += [Need(graph.key(tensor, axis), None, why) for axis in axes]
    return needs


def _is_copy(op: tf.Operation, graph: Graph) -> bool:
    """Whether its output goes by the name of its input."""
    return any(graph.source(one) != one.name for one in op.outputs)


def _unknown(op: tf.Operation) -> str:
    if op.type == "Placeholder":
        return "an input of the model"
    if op.type in _CALLS:
        return "a function with a state of its own"
    return "not known to treat channels apart"
