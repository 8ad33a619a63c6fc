"""Keras callbacks that prune, cluster, quantize and export any model, verified, without touching the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segopt_callbacks.faces import lazy_names

if TYPE_CHECKING:
    from segopt_callbacks.clustering import ClusterOnTrainEndCallback, ClusterScheduleCallback, cluster_model
    from segopt_callbacks.distillation import DistillationCallback
    from segopt_callbacks.export import ExportQuantizedCallback, export_model, read_metadata
    from segopt_callbacks.fit import AtTargetSparsity, step_by_fraction
    from segopt_callbacks.normalization import ReestimateBatchNormCallback, reestimate_batch_norm
    from segopt_callbacks.pruning import (
        ConstantSparsity,
        PolynomialDecay,
        PruningScheduleCallback,
        block,
        channel,
        n_of_m,
        ramp_by_epoch,
        ramp_by_fraction,
    )
    from segopt_callbacks.quantization import QuantizationAwareTrainingCallback
    from segopt_callbacks.recipes import recipe
    from segopt_callbacks.search import search_compression
    from segopt_callbacks.sensitivity import SensitivityCallback, layer_sensitivity
    from segopt_callbacks.shrinking import shrink_model
    from segopt_callbacks.summaries import CompressionSummaries

__version__ = "0.1.0"

__all__ = [
    "AtTargetSparsity",
    "ClusterOnTrainEndCallback",
    "ClusterScheduleCallback",
    "CompressionSummaries",
    "ConstantSparsity",
    "DistillationCallback",
    "ExportQuantizedCallback",
    "PolynomialDecay",
    "PruningScheduleCallback",
    "QuantizationAwareTrainingCallback",
    "ReestimateBatchNormCallback",
    "SensitivityCallback",
    "block",
    "channel",
    "cluster_model",
    "export_model",
    "layer_sensitivity",
    "n_of_m",
    "ramp_by_epoch",
    "ramp_by_fraction",
    "read_metadata",
    "recipe",
    "reestimate_batch_norm",
    "search_compression",
    "shrink_model",
    "step_by_fraction",
]

# TensorFlow takes seconds to import, and `segopt-sizes` does without it: a name is imported when it is first used.
_HOMES = {
    "AtTargetSparsity": "fit",
    "ClusterOnTrainEndCallback": "clustering",
    "ClusterScheduleCallback": "clustering",
    "CompressionSummaries": "summaries",
    "ConstantSparsity": "pruning",
    "DistillationCallback": "distillation",
    "ExportQuantizedCallback": "export",
    "PolynomialDecay": "pruning",
    "PruningScheduleCallback": "pruning",
    "QuantizationAwareTrainingCallback": "quantization",
    "ReestimateBatchNormCallback": "normalization",
    "SensitivityCallback": "sensitivity",
    "block": "pruning",
    "channel": "pruning",
    "cluster_model": "clustering",
    "export_model": "export",
    "layer_sensitivity": "sensitivity",
    "n_of_m": "pruning",
    "ramp_by_epoch": "pruning",
    "ramp_by_fraction": "pruning",
    "read_metadata": "export",
    "recipe": "recipes",
    "reestimate_batch_norm": "normalization",
    "search_compression": "search",
    "shrink_model": "shrinking",
    "step_by_fraction": "fit",
}

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
