"""`NAME.json` beside each file: what the file tells about itself, and how it did in its export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segopt_callbacks.pages import write_whole

_ROWS = ("weights", "activations")  # hundreds of lines, which report.json has


def sidecar_name(format_name: str) -> str:
    """What it is called.

    Example:
        >>> sidecar_name("int8")
        'int8.json'
    """
    return f"{format_name}.json"


def write_sidecars(folder: Path, report: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes one for each format that is delivered.

    Args:
        folder: of the files.
        report: as `export_model` returns it; each gets its format's own part, and the model's, without rows for each
            weight.
        told: format -> what its file tells, as `read_metadata` reads it.
    """
    for name, entry in report["formats"].items():
        if entry["status"] == "ok":
            part = {"model": _brief(report["model"]), "formats": {name: _brief(entry)}}
            document = {**told[name], "report": part | {"verification": report["verification"]}}
            text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
            write_whole(folder / sidecar_name(name), f"{text}\n")


def _brief(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in _ROWS}
