"""One model's compression through one fit; knows no single optimization."""

from segopt_callbacks.fit.at_target import AtTargetSparsity
from segopt_callbacks.fit.gradients import GradientRecord
from segopt_callbacks.fit.lifecycle import CompressionCallback, Stage
from segopt_callbacks.fit.projections import Clustered, Masked, Unshared, pruned_before

__all__ = [
    "AtTargetSparsity",
    "Clustered",
    "CompressionCallback",
    "GradientRecord",
    "Masked",
    "Stage",
    "Unshared",
    "pruned_before",
]
