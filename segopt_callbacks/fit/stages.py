"""The order in which the callbacks of one fit have their turns, wherever they stand in the user's list."""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    """When a callback's turn comes, at the beginning and after the fit. Before `MEASURE` weights are changed."""

    DISTILL = 1  # first: the teacher is the model as it is before anybody changes a weight
    PRUNE = 2
    CLUSTER = 3
    QUANTIZE = 4
    NORMALIZE = 5
    MEASURE = 6
    EXPORT = 7
    SUMMARIZE = 8
    JUDGE = 9
