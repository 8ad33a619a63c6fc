"""One model's compression through one fit; knows no single optimization."""

from segopt_callbacks.fit.at_target import AtTargetSparsity
from segopt_callbacks.fit.bypassed import warn_of_no_constraint
from segopt_callbacks.fit.gradients import GradientRecord
from segopt_callbacks.fit.marks import filled, pruned_before, select
from segopt_callbacks.fit.member import CompressionCallback
from segopt_callbacks.fit.moments import Moment, step_by_fraction, step_of, validate_step
from segopt_callbacks.fit.projections import Unshared
from segopt_callbacks.fit.settings import told_callbacks
from segopt_callbacks.fit.stages import Stage

__all__ = [
    "AtTargetSparsity",
    "CompressionCallback",
    "GradientRecord",
    "Moment",
    "Stage",
    "Unshared",
    "filled",
    "pruned_before",
    "select",
    "step_by_fraction",
    "step_of",
    "told_callbacks",
    "validate_step",
    "warn_of_no_constraint",
]
