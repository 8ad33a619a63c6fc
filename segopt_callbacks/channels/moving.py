"""Operations that move values about: channels are joined, parted, reshaped, padded, or stay where they are."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from segopt_callbacks.channels import slices
from segopt_callbacks.channels.elementwise import SIZE_UNKNOWN, apart, link, same, zero_stays
from segopt_callbacks.channels.graph import Graph, unknown
from segopt_callbacks.channels.links import Binding, Need

NOT_LAST = "it moves channels to another axis"


def passed_on(op: tf.Operation, graph: Graph) -> Binding:
    """Its first input's values, some left out or repeated, none mixed with another channel's."""
    return apart(op, graph, (0,), same)


def copied(op: tf.Operation, graph: Graph) -> Binding:
    """`IdentityN`: each output is the input of its number."""
    found = [apart(op, graph, (number,), same, number) for number in range(len(op.outputs))]
    refused = next((one.refused for one in found if one.refused), "")
    claimed: dict[int, tuple[int, ...]] = dict.fromkeys(range(len(op.inputs)), (-1,))
    return Binding([one for each in found for one in each.links], claimed=claimed, refused=refused)


def resized(op: tf.Operation, graph: Graph) -> Binding:
    """Weighted sums of a channel's own values."""
    return apart(op, graph, (0,), zero_stays)


def spread(op: tf.Operation, graph: Graph) -> Binding:
    """What stands before and after dilated convolutions: blocks of space, moved to the batch and back."""
    rank, blocks = op.inputs[0].shape.rank, op.inputs[1].shape[0]
    if not rank or blocks is None or blocks > rank - 2:
        return Binding(refused=NOT_LAST)
    return apart(op, graph, (0,), zero_stays)


def pooled(op: tf.Operation, graph: Graph) -> Binding:
    """Pooling over windows of one channel each; padding does not count."""
    is_last = op.get_attr("data_format") in (b"NHWC", b"NDHWC")
    if not is_last or list(op.get_attr("ksize"))[-1] != 1:
        return Binding(refused="it pools over channels")
    return apart(op, graph, (0,), same)


def reduced(op: tf.Operation, graph: Graph) -> Binding:
    """A sum, mean or the like; one over channels reads all of them, a sum those that are not zero."""
    x, axes = op.inputs[0], graph.value(op.inputs[1])
    rank = x.shape.rank
    if axes is None or rank is None:
        return Binding(refused="the axes that it reduces depend on the input")
    if rank - 1 not in {int(axis) % rank for axis in axes.ravel()}:
        return apart(op, graph, (0,), same if op.type in ("Mean", "Max", "Min") else zero_stays)
    count = graph.size(x)
    if op.type != "Sum" or count is None:
        return Binding(refused=f"{op.type} over channels counts those that are zero, too")
    reads = Need(graph.key(x), graph.channels(x, count) != 0, f"{op.type} {op.name} reads it")
    whole = Need(graph.key(op.outputs[0]), None, f"the answer of {op.name}")
    return Binding(needs=[reads, whole], claimed={0: (-1,)})


def transposed(op: tf.Operation, graph: Graph) -> Binding:
    """A transposition that leaves channels the last axis."""
    order = graph.value(op.inputs[1])
    if order is None or not order.size or int(order[-1]) != order.size - 1:
        return Binding(refused=NOT_LAST)
    return apart(op, graph, (0,), same)


def one_more_axis(op: tf.Operation, graph: Graph) -> Binding:
    """`ExpandDims`, but behind the channels."""
    axis, rank = graph.value(op.inputs[1]), op.inputs[0].shape.rank
    if axis is None or not rank or int(axis) in (-1, rank):
        return Binding(refused=NOT_LAST)
    return apart(op, graph, (0,), same)


def one_axis_less(op: tf.Operation, graph: Graph) -> Binding:
    """`Squeeze`, but of the channels."""
    if not op.inputs[0].shape.rank or graph.size(op.inputs[0]) != graph.size(op.outputs[0]):
        return Binding(refused=NOT_LAST)
    axes = {axis % op.inputs[0].shape.rank for axis in op.get_attr("squeeze_dims")}
    if op.inputs[0].shape.rank - 1 in axes or (not axes and graph.size(op.inputs[0]) == 1):
        return Binding(refused=NOT_LAST)
    return apart(op, graph, (0,), same)


def reshaped(op: tf.Operation, graph: Graph) -> Binding:
    """A reshape; where one number of channels divides the other, an index of the larger is one of the smaller.

    In row-major order the place of a value, modulo the channels, is its channel: that of the smaller number is the
    remainder of that of the larger, whatever the other axes are.
    """
    x, out = op.inputs[0], op.outputs[0]
    before, after = graph.size(x), graph.size(out)
    if not before or not after or not x.shape.rank or not out.shape.rank:
        return Binding(refused=SIZE_UNKNOWN)
    if before % after and after % before:
        return Binding(refused="a reshape mixes channels with other axes")
    many = np.arange(max(before, after))
    known = graph.channels(x, before)
    if not graph.is_constant(out):
        graph.known[out.name] = known[many % before] if after >= before else _agreed(known.reshape(-1, after))
    return Binding(links=[link(graph, x, out, many % before, many % after)], claimed={0: (-1,)})


def tiled(op: tf.Operation, graph: Graph) -> Binding:
    """Repetitions along other axes than that of channels."""
    times = graph.value(op.inputs[1])
    if times is None or not times.size or int(times[-1]) != 1:
        return Binding(refused="it may repeat channels")
    return apart(op, graph, (0,), same)


def padded(op: tf.Operation, graph: Graph) -> Binding:
    """Padding; channels that are added are zero, where that is what is padded with."""
    widths, rank = graph.value(op.inputs[1]), op.inputs[0].shape.rank
    x, out = op.inputs[0], op.outputs[0]
    count, total = graph.size(x), graph.size(out)
    if widths is None or not rank or count is None or total is None:
        return Binding(refused="how much it pads depends on the input")
    first = int(widths[-1, 0])
    if count == total:
        return apart(op, graph, (0,), same if op.type == "MirrorPad" else _padding(op, graph))
    if op.type != "Pad":
        return Binding(refused="it adds channels that are not zero")
    known = np.zeros(total)
    known[first : first + count] = zero_stays(graph.channels(x, count))
    graph.known[out.name] = known
    breaks = (graph.channels(x, count) == 0) & (known[first : first + count] != 0)
    return Binding(links=[link(graph, x, out, None, np.arange(first, first + count), breaks)], claimed={0: (-1,)})


def joined(op: tf.Operation, graph: Graph) -> Binding:
    """`ConcatV2`: one after the other along channels, or beside each other along another axis."""
    axis, out = graph.value(op.inputs[-1]), op.outputs[0]
    pieces = list(op.inputs)[:-1]
    if axis is None or not out.shape.rank:
        return Binding(refused=SIZE_UNKNOWN)
    if int(axis) % out.shape.rank != out.shape.rank - 1:
        return apart(op, graph, range(len(pieces)), _all_agree)
    sizes = [graph.size(piece) for piece in pieces]
    if None in sizes or sum(size or 0 for size in sizes) != graph.size(out):
        return Binding(refused=SIZE_UNKNOWN)
    ends = np.cumsum([size or 0 for size in sizes])
    if not graph.is_constant(out):
        graph.known[out.name] = np.concatenate(
            [graph.channels(piece, size or 0) for piece, size in zip(pieces, sizes, strict=True)]
        )
    links = [
        link(graph, piece, out, None, np.arange(end - (size or 0), end))
        for piece, size, end in zip(pieces, sizes, ends, strict=True)
    ]
    return Binding(links=links, claimed=dict.fromkeys(range(len(pieces)), (-1,)))


def stacked(op: tf.Operation, graph: Graph) -> Binding:
    """`Pack`, but along a new axis behind the channels."""
    rank = op.outputs[0].shape.rank
    if not rank or rank < 2 or op.get_attr("axis") % rank == rank - 1:
        return Binding(refused=NOT_LAST)
    return apart(op, graph, range(len(op.inputs)), _all_agree)


def parted(op: tf.Operation, graph: Graph) -> Binding:
    """`Split` and `SplitV`: along channels each part has some, along another axis all."""
    x, axis = (op.inputs[1], op.inputs[0]) if op.type == "Split" else (op.inputs[0], op.inputs[2])
    number, place = graph.value(axis), 1 if op.type == "Split" else 0
    if number is None or not x.shape.rank or graph.size(x) is None:
        return Binding(refused=SIZE_UNKNOWN)
    count, ends = graph.size(x) or 0, [0]
    if int(number) % x.shape.rank != x.shape.rank - 1:
        found = [apart(op, graph, (place,), same, output) for output in range(len(op.outputs))]
        refused = next((one.refused for one in found if one.refused), "")
        return Binding([one for each in found for one in each.links], claimed={place: (-1,)}, refused=refused)
    links, known = [], graph.channels(x, count)
    for out in op.outputs:
        every = np.arange(ends[-1], ends[-1] + (graph.size(out) or 0))
        if not every.size:
            return Binding(refused=SIZE_UNKNOWN)
        graph.known[out.name] = known[every]
        links.append(link(graph, x, out, every))
        ends.append(int(every[-1]) + 1)
    return Binding(links=links, claimed={place: (-1,)})


def sliced(op: tf.Operation, graph: Graph) -> Binding:
    """`Slice` and `StridedSlice`: a run of channels, or all of them."""
    x, out = op.inputs[0], op.outputs[0]
    run = slices.run_of(op, graph)
    if isinstance(run, str):
        return Binding(refused=run)
    every = np.arange(run.start, run.stop)
    if not graph.is_constant(out):
        graph.known[out.name] = graph.channels(x, graph.size(x) or 0)[every]
    return Binding(links=[link(graph, x, out, every)], claimed={0: (-1,)})


def looked_up(op: tf.Operation, graph: Graph) -> Binding:
    """`GatherV2` along another axis than that of channels, as of an embedding."""
    axis, rank = graph.value(op.inputs[2]), op.inputs[0].shape.rank
    if axis is None or not rank or int(axis) % rank == rank - 1:
        return Binding(refused="it chooses among channels")
    return apart(op, graph, (0,), same)


def shape_read(op: tf.Operation, graph: Graph) -> Binding:
    """`Shape`, which is made to tell the number of channels that there were."""
    return Binding(claimed={0: (-1,)})


def _padding(op: tf.Operation, graph: Graph):  # type: ignore[no-untyped-def]
    value = graph.value(op.inputs[2]) if op.type == "PadV2" else 0.0
    return (lambda x: np.where(x == float(value), x, np.nan)) if value is not None else (lambda x: unknown(len(x)))


def _agreed(rows: np.ndarray) -> np.ndarray:
    return np.where((rows == rows[0]).all(axis=0), rows[0], np.nan)


def _all_agree(*values: np.ndarray) -> np.ndarray:
    return _agreed(np.stack(values))
