"""Pruning: which weights become zero, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segopt_callbacks.faces import lazy_names
from segopt_callbacks.pruning.callback import PruningScheduleCallback
from segopt_callbacks.pruning.distributions import distribute
from segopt_callbacks.pruning.masks import magnitude_mask
from segopt_callbacks.pruning.patterns import block, channel, n_of_m
from segopt_callbacks.pruning.ramps import ramp_by_epoch, ramp_by_fraction

if TYPE_CHECKING:
    from segopt_callbacks.pruning.schedules import ConstantSparsity, PolynomialDecay

__all__ = [
    "ConstantSparsity",
    "PolynomialDecay",
    "PruningScheduleCallback",
    "block",
    "channel",
    "distribute",
    "magnitude_mask",
    "n_of_m",
    "ramp_by_epoch",
    "ramp_by_fraction",
]

# tfmot's own, which is imported for who uses them.
__getattr__ = lazy_names(__name__, {"ConstantSparsity": "schedules", "PolynomialDecay": "schedules"})
