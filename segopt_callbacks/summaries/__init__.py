"""What TensorBoard shows."""

from segopt_callbacks.summaries.callback import CompressionSummaries
from segopt_callbacks.summaries.hparams import write_results
from segopt_callbacks.summaries.sensitivity import write_sensitivity

__all__ = ["CompressionSummaries", "write_results", "write_sensitivity"]
