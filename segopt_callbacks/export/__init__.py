"""Export: a frozen inference function, one module per target, verification, audit and report."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segopt_callbacks.export.callback import ExportQuantizedCallback
    from segopt_callbacks.export.errors import ExportError
    from segopt_callbacks.export.exporter import export_model
    from segopt_callbacks.export.metadata import read_metadata
    from segopt_callbacks.export.report import add_baseline

__all__ = ["ExportError", "ExportQuantizedCallback", "add_baseline", "export_model", "read_metadata"]

# A process that runs one file of an export must not wait for TensorFlow: names are imported when they are first used.
_HOMES = {
    "ExportError": "errors",
    "ExportQuantizedCallback": "callback",
    "add_baseline": "report",
    "export_model": "exporter",
    "read_metadata": "metadata",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}. Public names: {', '.join(__all__)}.")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
