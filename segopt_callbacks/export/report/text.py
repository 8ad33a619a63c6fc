"""The report on a terminal: what a file is judged by, in lines of at most 100 characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segopt_callbacks.errors import printable
from segopt_callbacks.export.checks import latency_figures
from segopt_callbacks.pages import FIGURES, LATENCIES, RATIO, cell

WIDTH = 100
_AGREEMENT = [column for column in FIGURES if column[0] in ("equal_argmax", "largest_difference")]


def table(report: Mapping[str, Any]) -> str:
    """The report as aligned plain text, one row each for the baselines, the model and the formats.

    How good, how large and how fast each is, beside `float32` where that is exported; `report.html` has the rest. Of
    several metrics, as many as fit. Without any, how far answers are those of the model.

    Example:
        >>> dense = {"metrics": {"miou": 0.75}}
        >>> int8 = {"status": "ok", "bytes": 4096, "gzip_bytes": 2048, "metrics": {"miou": 0.74}}
        >>> print(table({"baselines": {"dense": dense}, "model": {}, "formats": {"int8": int8}}))
                 miou  bytes  gzip bytes
        dense  0.7500      -           -
        model       -      -           -
        int8   0.7400  4,096       2,048
    """
    entries = delivered(report)
    names = metric_names(entries)
    rows = _rows(entries, names)
    while len(names) > 1 and _width(rows) > WIDTH:
        names = names[:-1]
        rows = _rows(entries, names)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([*lines, *(printable(f"{name}: FAILED: {why}") for name, why in failures(report))])


def delivered(report: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> entry of everything that has figures: baselines, the model, the formats that did not fail."""
    entries = {**report["baselines"], "model": report["model"], **report["formats"]}
    return {name: entry for name, entry in entries.items() if entry.get("status") != "failed"}


def metric_names(entries: Mapping[str, Any]) -> list[str]:
    """Names of the metrics that are numbers, each once."""
    pairs = (pair for entry in entries.values() for pair in entry.get("metrics", {}).items())
    return list(dict.fromkeys(name for name, value in pairs if isinstance(value, float)))


def failures(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Format and cause of each that failed."""
    return [(name, entry["error"]) for name, entry in report["formats"].items() if entry["status"] == "failed"]


def _rows(entries: Mapping[str, Any], metrics: list[str]) -> list[list[str]]:
    """The heading and a row for each entry."""
    base = entries.get("float32", {}).get("gzip_bytes")
    timed = [one for one in LATENCIES if any(one[0] in entry.get("latency_ms", {}) for entry in entries.values())][:1]
    told = [one for one in _AGREEMENT if any(entry.get(one[0]) is not None for entry in entries.values())]
    agreement = [] if metrics else told
    head = ["", *metrics, *(heading for _, heading, _ in agreement), "bytes", "gzip bytes"]
    head += [RATIO] * bool(base) + [text for _, heading in timed for text in (heading, RATIO)]
    rows = [[printable(one) for one in head]]
    for name, entry in entries.items():
        row = [printable(name), *(cell(entry.get("metrics", {}).get(metric), "{:.4f}") for metric in metrics)]
        row += [cell(entry.get(key), pattern) for key, _, pattern in agreement]
        row += [cell(entry.get(key), "{:,}") for key in ("bytes", "gzip_bytes")]
        if base:
            row.append(cell(entry.get("gzip_bytes") and entry["gzip_bytes"] / base, "{:.2f}"))
        for key, _ in timed:
            times = entry.get("latency_ms", {}).get(key, {})
            row += [latency_figures.cell(one, with_interval=False) for one in (times, times.get("ratio_to_float32"))]
        rows.append(row)
    return rows


def _width(rows: list[list[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True)) - 2
