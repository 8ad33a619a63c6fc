"""Pruning: which weights become zero, and when."""

from segopt_callbacks.pruning.callback import PruningScheduleCallback
from segopt_callbacks.pruning.masks import magnitude_mask
from segopt_callbacks.pruning.patterns import block, channel, n_of_m
from segopt_callbacks.pruning.ramps import ramp_by_epoch, ramp_by_fraction
from segopt_callbacks.pruning.schedules import ConstantSparsity, PolynomialDecay

__all__ = [
    "ConstantSparsity",
    "PolynomialDecay",
    "PruningScheduleCallback",
    "block",
    "channel",
    "magnitude_mask",
    "n_of_m",
    "ramp_by_epoch",
    "ramp_by_fraction",
]
