"""Large arrays, a block at a time: blocks fit a processor's cache, and threads share them. Pure NumPy.

An intermediate array of a whole weight costs more to allocate than to compute.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_BLOCK = 1 << 16
_WORTH_THREADS = 1 << 19  # values; fewer are done before a thread has begun
_MOST_THREADS = 8


def blocks(size: int) -> Iterator[slice]:
    """Slices that cover `size` values.

    >>> list(blocks(100_000))
    [slice(0, 65536, None), slice(65536, 131072, None)]
    """
    return (slice(start, start + _BLOCK) for start in range(0, size, _BLOCK))


def row_blocks(rows: int, width: int) -> Iterator[slice]:
    """Slices that cover `rows` rows of `width` values, each of as many whole rows as a block holds.

    >>> list(row_blocks(3, 40_000)), list(row_blocks(3, 30_000))
    ([slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)], [slice(0, 2, None), slice(2, 4, None)])
    """
    step = max(1, _BLOCK // max(width, 1))
    return (slice(start, start + step) for start in range(0, rows, step))


def for_each_block(work: Callable[[slice], Any], size: int) -> list[Any]:
    """What `work` returns for each of `blocks`, in their order; large arrays are shared among threads.

    NumPy lets other threads run while it computes on a block.

    >>> for_each_block(lambda part: part.stop - part.start, 100_000)
    [65536, 65536]
    """
    parts = list(blocks(size))
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    if size < _WORTH_THREADS or threads == 1:
        return [work(part) for part in parts]
    shares = [parts[len(parts) * i // threads : len(parts) * (i + 1) // threads] for i in range(threads)]
    others = [_pool(threads).submit(_in_turn, work, share) for share in shares[1:]]
    done = [_in_turn(work, shares[0]), *(other.result() for other in others)]
    return [one for share in done for one in share]


def _in_turn(work: Callable[[slice], Any], parts: list[slice]) -> list[Any]:
    return [work(part) for part in parts]


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="blocks")
