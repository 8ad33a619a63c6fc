"""A report that notebooks and terminals show as a table, and that is a dict in all else."""

from __future__ import annotations

from typing import Any

from segopt_callbacks.export.report.text import table
from segopt_callbacks.pages import notebook


class ShownReport(dict[str, Any]):
    """What `export_model` returns: the dict of `report.json`; `print` shows its table, a notebook a page.

    Example:
        >>> formats = {"int8": {"status": "failed", "error": "no data"}}
        >>> ShownReport(model={"name": "net"}, formats=formats, baselines={})
        Report(model='net', files=[], failed=['int8'])
    """

    def __repr__(self) -> str:
        if not {"model", "formats"} <= self.keys():  # somebody has taken them out
            return super().__repr__()
        files = [entry["file"] for entry in self["formats"].values() if entry["status"] == "ok"]
        failed = [name for name, entry in self["formats"].items() if entry["status"] == "failed"]
        return f"Report(model={self['model']['name']!r}, files={files}{f', failed={failed}' if failed else ''})"

    def __str__(self) -> str:
        return table(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return notebook(self)
