"""Seconds of single runs -> the figures of a report: medians, their intervals, ratios. Pure NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segopt_callbacks.pages import three_digits

BASE = "float32"  # ratios are to this file
_FEWEST = 3  # rounds that an interval takes
_RESAMPLES = 2000

Turns = Sequence[Sequence[float]]  # seconds of the runs of each round, from the first round on


def figures(turns: Turns, base: Turns | None = None) -> dict[str, Any]:
    """What is to be told of one file.

    Each round gives the median of its runs; the figure is the median of these, and its interval a bootstrap over
    rounds, since runs of one round share what else the machine does. A ratio is taken round by round, so that what
    slows a round slows both of its sides.

    Args:
        turns: its runs.
        base: those of the file that ratios are to, in the same rounds.

    Returns:
        `median`, and from three rounds on `low` and `high`, in milliseconds; `rounds` and `runs`, how many; with a base
        `ratio_to_float32`, which has a `median`, `low` and `high` of its own.

    Example:
        >>> figures([[0.002, 0.004, 0.003]], base=[[0.006]])
        {'median': 3.0, 'rounds': 1, 'runs': 3, 'ratio_to_float32': {'median': 0.5}}
    """
    medians = np.array([np.median(runs) for runs in turns])
    found: dict[str, Any] = interval(1000 * medians)
    found |= {"rounds": len(turns), "runs": sum(map(len, turns))}
    if base:
        both = min(len(turns), len(base))
        found["ratio_to_float32"] = interval(medians[:both] / [np.median(runs) for runs in base[:both]])
    return found


def is_narrow(turns: Turns, narrow: float) -> bool:
    """Whether the interval of a file's median is no wider than a fraction of the median.

    Args:
        turns: its runs so far.
        narrow: the fraction; where it is 0, no interval is.

    Example:
        >>> is_narrow([[0.100], [0.101], [0.099]], 0.05), is_narrow([[1], [2], [3]], 0.05)
        (True, False)
    """
    if narrow <= 0 or len(turns) < _FEWEST:
        return False
    found = interval(np.array([np.median(runs) for runs in turns]))
    return found["high"] - found["low"] <= narrow * found["median"]


def interval(values: np.ndarray) -> dict[str, float]:
    """The median, and the ends of its 95% interval by bootstrap where there are enough values.

    Example:
        >>> interval(np.array([1.0, 2.0, 3.0]))
        {'median': 2.0, 'low': 1.0, 'high': 3.0}
    """
    found = {"median": float(np.median(values))}
    if len(values) >= _FEWEST:
        medians = np.median(np.random.default_rng(0).choice(values, (_RESAMPLES, len(values))), axis=1)
        low, high = np.quantile(medians, [0.025, 0.975])
        found |= {"low": float(low), "high": float(high)}
    return {key: float(f"{value:.6g}") for key, value in found.items()}


def cell(times: Mapping[str, Any] | None, *, with_interval: bool) -> str:
    """A figure as text.

    Example:
        >>> cell({"median": 3.14159, "low": 3.0, "high": 4.25}, with_interval=True)
        '3.14 [3.00, 4.25]'
        >>> cell({"median": 314.159}, with_interval=True), cell(None, with_interval=True)
        ('314', '-')
    """
    if not times:
        return "-"
    if not with_interval or "low" not in times:
        return three_digits(times["median"])
    return f"{three_digits(times['median'])} [{three_digits(times['low'])}, {three_digits(times['high'])}]"
