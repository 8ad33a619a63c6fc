"""Loops for CPUs: what TVM's default pipeline leaves in the order of the formula -> tiles, vectors and threads.

The default is one plain loop after the other; a convolution so runs 35 times slower than in these loops, which come
near LiteRT's own kernels. Tuning (MetaSchedule) would find better ones; it crashes in the wheels of TVM 0.27.
"""

from __future__ import annotations

from typing import Any

LANES = 16  # numbers along the innermost axis that are computed at once; two AVX2 registers
ROWS = 4  # and along another axis, so that each number that is read is used several times
_SPATIAL, _REDUCTION = 0, 2  # TVM's kinds of axes


def schedule(module: Any) -> Any:
    """Gives every function of a module loops for CPUs; those that TVM cannot reorder stay as they are.

    Args:
        module: a `tvm.IRModule` whose operators are loops already, as the pipeline "zero" leaves it.

    Returns:
        a module that computes the same.
    """
    import tvm

    for name, function in module.functions_items():
        if isinstance(function, tvm.tirx.PrimFunc):
            module[name] = _scheduled(function)
    return module


def _scheduled(function: Any) -> Any:
    import tvm

    loops = tvm.s_tir.Schedule(tvm.IRModule({"main": function}))
    try:
        for block in loops.get_child_blocks(loops.get_sblock("root")):
            _schedule_block(loops, block)
    except tvm.s_tir.ScheduleError:
        return function
    return loops.mod["main"].with_attrs(function.attrs)


def _schedule_block(loops: Any, block: Any) -> None:
    kinds = [int(axis.iter_type) for axis in loops.get(block).iter_vars]
    axes = loops.get_loops(block)
    spatial = [axis for axis, kind in zip(axes, kinds, strict=True) if kind == _SPATIAL]
    reduced = [axis for axis, kind in zip(axes, kinds, strict=True) if kind == _REDUCTION]
    if len(spatial) < 2 or len(spatial) + len(reduced) < len(axes):
        return
    if reduced:
        _schedule_sum(loops, block, spatial, reduced)
    else:
        _schedule_elements(loops, spatial)


def _schedule_elements(loops: Any, spatial: list[Any]) -> None:
    """Threads over the outer axes, vectors along the last one."""
    *outer, last = spatial
    _, inside = loops.split(last, [None, _tile(loops, last, LANES)])
    loops.vectorize(inside)
    loops.parallel(loops.fuse(*outer) if len(outer) > 1 else outer[0])


def _schedule_sum(loops: Any, block: Any, spatial: list[Any], reduced: list[Any]) -> None:
    """A tile of sums at a time, held in registers while all that is to be added passes by.

    Rows are the second axis: channels of a convolution, whose inputs are the same.
    """
    *outer, last = spatial
    row = outer[min(1, len(outer) - 1)]
    rows, in_row = loops.split(row, [None, _tile(loops, row, ROWS)])
    lanes, in_lane = loops.split(last, [None, _tile(loops, last, LANES)])
    tiles = [rows if axis is row else axis for axis in outer]
    loops.reorder(*tiles, lanes, *reduced, in_row, in_lane)
    threads = loops.fuse(*tiles) if len(tiles) > 1 else tiles[0]
    sums = loops.cache_write(block, 0, "local")
    loops.reverse_compute_at(sums, lanes)
    loops.vectorize(loops.get_loops(sums)[-1])
    loops.vectorize(in_lane)
    loops.unroll(in_row)
    loops.parallel(threads)
    loops.decompose_reduction(block, reduced[0])


def _tile(loops: Any, axis: Any, largest: int) -> int:
    """The largest size of a tile that divides an axis."""
    extent = int(loops.get(axis).extent)
    return next(size for size in range(min(largest, extent), 0, -1) if extent % size == 0)
