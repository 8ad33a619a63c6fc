"""The order in which the callbacks of one fit have their turns, wherever they stand in the user's list."""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    """When a callback's turn comes, at the beginning and after the fit. Before `MEASURE` weights are changed."""

    PRUNE = 1
    CLUSTER = 2
    QUANTIZE = 3
    NORMALIZE = 4
    MEASURE = 5
    EXPORT = 6
    SUMMARIZE = 7
    JUDGE = 8
