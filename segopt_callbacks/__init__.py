"""Keras callbacks that prune, cluster, quantize and export any model, verified, without touching the model."""

from segopt_callbacks.clustering import ClusterOnTrainEndCallback, cluster_model
from segopt_callbacks.pruning import PruningScheduleCallback
from segopt_callbacks.schedules import ConstantSparsity, PolynomialDecay

__all__ = [
    "ClusterOnTrainEndCallback",
    "ConstantSparsity",
    "PolynomialDecay",
    "PruningScheduleCallback",
    "cluster_model",
]
