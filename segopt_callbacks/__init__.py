"""Keras callbacks that prune, cluster, quantize and export any model, verified, without touching the model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segopt_callbacks.batch_norm import reestimate_batch_norm
    from segopt_callbacks.best import AtTargetSparsity
    from segopt_callbacks.clustering import ClusterOnTrainEndCallback, cluster_model
    from segopt_callbacks.export.callback import ExportQuantizedCallback, export_model
    from segopt_callbacks.export.metadata import read_metadata
    from segopt_callbacks.fine_tuning import ClusterScheduleCallback
    from segopt_callbacks.measuring import SensitivityCallback, layer_sensitivity
    from segopt_callbacks.normalizing import ReestimateBatchNormCallback
    from segopt_callbacks.patterns import block, channel, n_of_m
    from segopt_callbacks.pruning import PruningScheduleCallback
    from segopt_callbacks.quantization import QuantizationAwareTrainingCallback
    from segopt_callbacks.schedules import ConstantSparsity, PolynomialDecay, ramp_by_epoch, ramp_by_fraction
    from segopt_callbacks.summaries import CompressionSummaries

__all__ = [
    "AtTargetSparsity",
    "ClusterOnTrainEndCallback",
    "ClusterScheduleCallback",
    "CompressionSummaries",
    "ConstantSparsity",
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
    "reestimate_batch_norm",
]

# TensorFlow takes seconds to import, and `segopt-sizes` does without it: a name is imported when it is first used.
_HOMES = {
    "AtTargetSparsity": "best",
    "ClusterOnTrainEndCallback": "clustering",
    "ClusterScheduleCallback": "fine_tuning",
    "CompressionSummaries": "summaries",
    "ConstantSparsity": "schedules",
    "ExportQuantizedCallback": "export.callback",
    "PolynomialDecay": "schedules",
    "PruningScheduleCallback": "pruning",
    "QuantizationAwareTrainingCallback": "quantization",
    "ReestimateBatchNormCallback": "normalizing",
    "SensitivityCallback": "measuring",
    "block": "patterns",
    "channel": "patterns",
    "cluster_model": "clustering",
    "export_model": "export.callback",
    "layer_sensitivity": "measuring",
    "n_of_m": "patterns",
    "ramp_by_epoch": "schedules",
    "ramp_by_fraction": "schedules",
    "read_metadata": "export.metadata",
    "reestimate_batch_norm": "batch_norm",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}. Public names: {', '.join(__all__)}.")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
