"""Export: a frozen inference function, one module per target, verification, audit and report."""

from segopt_callbacks.export.callback import ExportQuantizedCallback
from segopt_callbacks.export.errors import ExportError
from segopt_callbacks.export.exporter import export_model
from segopt_callbacks.export.report import add_baseline

__all__ = ["ExportError", "ExportQuantizedCallback", "add_baseline", "export_model"]
