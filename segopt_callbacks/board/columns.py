"""Series of unlike steps as the columns of one table. Pure Python."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence


def thinned(steps: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly spaced, the last one always.

    Args:
        steps: ascending.
        most: 1 or more.

    Example:
        >>> thinned(range(1, 11), 4)
        [1, 4, 7, 10]
        >>> thinned([1, 2], 4), thinned([], 4), thinned([1, 2], 1)
        ([1, 2], [], [2])
    """
    if len(steps) <= most:
        return list(steps)
    last = len(steps) - 1
    return [steps[last - round(place * last / max(most - 1, 1))] for place in reversed(range(most))]


def aligned(series: Mapping[int, float], steps: Sequence[int]) -> list[float | None]:
    """The value of a series at each step: the last one that was written until then, `None` before the first.

    What is not finite is `None`, too, since JSON has no word for it.

    Args:
        series: step -> value.
        steps: ascending.

    Example:
        >>> aligned({2: 0.5, 4: 0.75}, [1, 2, 3, 9])
        [None, 0.5, 0.5, 0.75]
    """
    known = sorted(series)
    places = [bisect.bisect_right(known, step) for step in steps]
    values = [series[known[place - 1]] if place else None for place in places]
    return [None if value is None or not math.isfinite(value) else float(value) for value in values]
