"""The report of an export: a table for people, `report.json` for programs, `report.md` for both."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JSON_NAME, MARKDOWN_NAME = REPORTS = ("report.json", "report.md")
FIGURES = (  # key in an entry, heading, format
    ("bytes", "bytes", "{:,}"),
    ("gzip_bytes", "gzip bytes", "{:,}"),
    ("entropy_bytes", "entropy bound", "{:,}"),
    ("largest_difference", "largest diff.", "{:.2e}"),
    ("equal_argmax", "equal argmax", "{:.4f}"),
    ("zeros", "zeros", "{:.4f}"),
    ("max_distinct_per_channel", "distinct/channel", "{}"),
)
EXPLANATION = (
    "`bytes` is the whole file or folder, `gzip bytes` the same through `gzip -9` (file by file), `entropy bound` "
    "what an ideal coder would need for its weights: which value stands where, and each value once. Differences are "
    "between the file's outputs and those of the model in memory, on the same data; `equal argmax` is the fraction of "
    "pixels (or examples) of equal class. `zeros` is a fraction over all weights of rank 2 or more, as stored in the "
    "file, and `distinct/channel` the largest number of distinct stored values in one output channel."
)


def write_report(export_dir: str | os.PathLike[str], report: Mapping[str, Any]) -> None:
    """Writes `report.json` and `report.md`, each complete or not at all.

    Args:
        export_dir: an existing folder.
        report: as `export_model` returns it.
    """
    folder = Path(export_dir)
    _replace(folder / JSON_NAME, json.dumps(report, indent=2, allow_nan=False) + "\n")
    _replace(folder / MARKDOWN_NAME, markdown(report))


def add_baseline(export_dir: str | os.PathLike[str], name: str, metrics: Mapping[str, float]) -> dict[str, Any]:
    """Adds a row for comparison, such as a dense model that was trained equally long, to a written report.

    Args:
        export_dir: where `export_model` has written its report.
        name: of the row; an earlier one of that name is replaced.
        metrics: name -> value, by the names of the report's own metrics.

    Returns:
        the whole report.

    Raises:
        FileNotFoundError: if there is no report yet.
        ValueError: if the name is taken by the model or a format.
    """
    path = Path(export_dir) / JSON_NAME
    if not path.exists():
        raise FileNotFoundError(f"`export_dir` must hold a report; export there first. Received: {path} is missing.")
    report = json.loads(path.read_text(encoding="utf-8"))
    if name in report["formats"] or name == "model":
        raise ValueError(f"`name` must not be that of a format or the model; choose another. Received: {name!r}.")
    report["baselines"][name] = {"metrics": {key: float(value) for key, value in metrics.items()}}
    write_report(export_dir, report)
    return report


def table(report: Mapping[str, Any]) -> str:
    """The report as aligned plain text, one row each for the baselines, the model and the formats.

    Example:
        >>> print(table({"baselines": {"dense": {"metrics": {"miou": 0.75}}}, "model": {}, "formats": {}}))
                 miou  bytes  gzip bytes  entropy bound  largest diff.  equal argmax  zeros  distinct/channel
        dense  0.7500      -           -              -              -             -      -                 -
        model       -      -           -              -              -             -      -                 -
    """
    rows = _rows(report)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *(f"{name}: FAILED: {why}" for name, why in _failures(report))])


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a page: the table, what failed, and the audit of weights and activations."""
    head, *body = _rows(report)
    lines = ["# Export report", "", _verified_on(report), "", *_markdown_table(head, body), "", EXPLANATION, ""]
    failures = _failures(report)
    if failures:
        lines += ["## Failed", "", *(f"- `{name}`: {why}" for name, why in failures), ""]
    for entry in report["formats"].values():
        if entry.get("weights"):
            lines += [f"## Weights in `{entry['file']}`", "", *_weight_table(entry["weights"]), ""]
        if entry.get("activations"):
            dtypes = Counter(activation["dtype"] for activation in entry["activations"])
            counts = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.most_common())
            lines += [f"Activations, inputs and outputs: {counts}.", ""]
    return "\n".join(lines)


def _rows(report: Mapping[str, Any]) -> list[list[str]]:
    entries = {**report["baselines"], "model": report["model"], **report["formats"]}
    entries = {name: entry for name, entry in entries.items() if entry.get("status") != "failed"}
    metrics = list(
        dict.fromkeys(
            name
            for entry in entries.values()
            for name, value in entry.get("metrics", {}).items()
            if isinstance(value, float)
        )
    )
    rows = [["", *metrics, *(heading for _, heading, _ in FIGURES)]]
    for name, entry in entries.items():
        values = [_cell(entry.get("metrics", {}).get(metric), "{:.4f}") for metric in metrics]
        rows.append([name, *values, *(_cell(entry.get(key), pattern) for key, _, pattern in FIGURES)])
    return rows


def _cell(value: Any, pattern: str) -> str:
    return "-" if value is None or isinstance(value, list | dict) else pattern.format(value)


def _failures(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, entry["error"]) for name, entry in report["formats"].items() if entry["status"] == "failed"]


def _verified_on(report: Mapping[str, Any]) -> str:
    verified = report["verification"]
    name, examples = report["model"]["name"], verified["examples"]
    return f"Model `{name}`; every file was run on {examples} examples ({verified['data']})."


def _weight_table(weights: list[dict[str, Any]]) -> list[str]:
    head = ["weight", "shape", "dtype", "zeros", "distinct", "distinct/channel", "scales"]
    body = [
        [
            f"`{row['weight'] or row['name']}`",
            "x".join(map(str, row["shape"])),
            row["dtype"],
            f"{row['zeros'] / row['elements']:.4f}",
            str(row["distinct"]),
            str(row["max_distinct_per_channel"]),
            str(row["scales"]),
        ]
        for row in weights
    ]
    return _markdown_table(head, body)


def _markdown_table(head: list[str], body: list[list[str]]) -> list[str]:
    rule = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(row)} |" for row in [head, rule, *body]]


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
