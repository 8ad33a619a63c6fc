"""What is fed to a model: its forms, batches, samples and metrics."""

from segopt_callbacks.data.evaluation import Evaluation, validate_evaluation
from segopt_callbacks.data.feed import Feed, cast_inputs
from segopt_callbacks.data.forms import (
    EXAMPLE_LIMIT,
    as_evaluation_data,
    validate_evaluation_data,
    validate_representative_dataset,
)
from segopt_callbacks.data.metrics import MetricStates, metrics_or_compiled, validate_metrics
from segopt_callbacks.data.rehearsal import rehearse, unchanged
from segopt_callbacks.data.training_sample import TrainingSample

__all__ = [
    "EXAMPLE_LIMIT",
    "Evaluation",
    "Feed",
    "MetricStates",
    "TrainingSample",
    "as_evaluation_data",
    "cast_inputs",
    "metrics_or_compiled",
    "rehearse",
    "unchanged",
    "validate_evaluation",
    "validate_evaluation_data",
    "validate_metrics",
    "validate_representative_dataset",
]
