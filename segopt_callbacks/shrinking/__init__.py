"""A functional or sequential model, pruned by channels, becomes a smaller model of Keras."""

from segopt_callbacks.shrinking.shrink import shrink_model

__all__ = ["shrink_model"]
