"""What TensorBoard shows."""

from segopt_callbacks.summaries.callback import CompressionSummaries, write_sensitivity

__all__ = ["CompressionSummaries", "write_sensitivity"]
