"""Libraries compiled by TVM."""

from segopt_callbacks.export.tvm.compiler import TARGET

__all__ = ["TARGET"]
