"""Which channels a `Slice` or a `StridedSlice` takes."""

from __future__ import annotations

import tensorflow as tf

from segopt_callbacks.channels.graph import Graph

UNKNOWN = "which channels it takes depends on the input"


def run_of(op: tf.Operation, graph: Graph) -> range | str:
    """The channels that a slice takes, one after the other; or why it cannot be told."""
    count, after, rank = graph.size(op.inputs[0]), graph.size(op.outputs[0]), op.inputs[0].shape.rank
    if not count or not after or not rank or not op.outputs[0].shape.rank:
        return UNKNOWN
    if op.type == "StridedSlice":
        return _strided(op, graph, count, after)
    begin, size = graph.value(op.inputs[1]), graph.value(op.inputs[2])
    if size is None or begin is None:
        takes_all = size is not None and int(size[-1]) == -1 and after == count
        return range(count) if takes_all else UNKNOWN
    return range(int(begin[-1]), int(begin[-1]) + after)


def place_of_channels(op: tf.Operation) -> int | None:
    """Which entry of a `StridedSlice`'s begin, end and strides is that of the channels; `None` where none is."""
    entries = op.inputs[1].shape[0]
    rank = op.inputs[0].shape.rank
    if entries is None or rank is None:
        return None
    ellipsis = op.get_attr("ellipsis_mask")
    if ellipsis:
        return None if ellipsis >> (entries - 1) & 1 else entries - 1
    return entries - 1 if entries == rank else None


def _strided(op: tf.Operation, graph: Graph, count: int, after: int) -> range | str:
    if op.get_attr("new_axis_mask") or op.inputs[1].shape[0] is None:
        return UNKNOWN
    place = place_of_channels(op)
    if place is None:
        return range(count)
    if op.get_attr("shrink_axis_mask") >> place & 1:
        return "it takes one channel"
    values = [graph.value(one) for one in op.inputs[1:]]
    if any(one is None for one in values):
        return UNKNOWN
    begin, end, step = (int(one[place]) for one in values if one is not None)
    begin = 0 if op.get_attr("begin_mask") >> place & 1 else begin
    stop = count if op.get_attr("end_mask") >> place & 1 else end
    taken = range(count)[begin:stop:step]
    return taken if step == 1 and len(taken) == after else "it takes every other channel, or turns them round"
