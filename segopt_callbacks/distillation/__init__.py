"""A teacher's answers beside the labels."""

from segopt_callbacks.distillation.callback import DistillationCallback

__all__ = ["DistillationCallback"]
