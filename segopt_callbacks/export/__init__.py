"""Export: a frozen inference function, one room for each runtime, checks, delivery and report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segopt_callbacks.faces import lazy_names

if TYPE_CHECKING:
    from segopt_callbacks.errors import ExportError
    from segopt_callbacks.export.callback import ExportQuantizedCallback
    from segopt_callbacks.export.delivery import read_metadata
    from segopt_callbacks.export.exporter import export_model
    from segopt_callbacks.export.formats import Format, is_installed
    from segopt_callbacks.export.report import add_baseline, table
    from segopt_callbacks.export.running import Exported, open_exported
    from segopt_callbacks.records import Report

__all__ = [
    "ExportError",
    "ExportQuantizedCallback",
    "Exported",
    "Format",
    "Report",
    "add_baseline",
    "export_model",
    "is_installed",
    "open_exported",
    "read_metadata",
    "table",
]

# A process that runs one file of an export must not wait for TensorFlow: names are imported when they are first used.
_HOMES = {
    "ExportError": "exporter",
    "ExportQuantizedCallback": "callback",
    "Exported": "running",
    "Format": "formats",
    "Report": "report",
    "add_baseline": "report",
    "export_model": "exporter",
    "is_installed": "formats",
    "open_exported": "running",
    "read_metadata": "delivery",
    "table": "report",
}

__getattr__ = lazy_names(__name__, _HOMES)
