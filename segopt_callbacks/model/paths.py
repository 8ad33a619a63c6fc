"""Weights by their paths, each path once."""

from __future__ import annotations

import itertools
from collections.abc import Container, Sequence
from typing import Any

from segopt_callbacks import compat


def unique_paths(weights: Sequence[Any]) -> dict[str, Any]:
    """Path -> weight, in the order of the weights."""
    named: dict[str, Any] = {}
    for weight in weights:
        named[unique_path(compat.variable_path(weight), named)] = weight
    return named


def unique_path(path: str, taken: Container[str]) -> str:
    """`path`, or `path#2`, `path#3`, ... where it is taken.

    Keras 2 lets layers of one name stand in different blocks of a subclassed model.

    >>> unique_path("conv/kernel", {"conv/kernel"})
    'conv/kernel#2'
    """
    numbered = (path if number == 1 else f"{path}#{number}" for number in itertools.count(1))
    return next(one for one in numbered if one not in taken)
