"""Statistics of BatchNormalization, taken anew."""

from segopt_callbacks.normalization.callback import ReestimateBatchNormCallback
from segopt_callbacks.normalization.statistics import reestimate_batch_norm

__all__ = ["ReestimateBatchNormCallback", "reestimate_batch_norm"]
