"""The inference function that every format is made from."""

from segopt_callbacks.export.inference import ranged
from segopt_callbacks.export.inference.sources import Sources

__all__ = ["Sources", "ranged"]
