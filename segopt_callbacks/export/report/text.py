"""The report on a terminal: what a file is judged by, in lines of at most 100 characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segopt_callbacks.errors import printable
from segopt_callbacks.export.checks import latency_figures
from segopt_callbacks.export.report.beside import FLOAT_BYTES
from segopt_callbacks.pages import FIGURES, LATENCIES, RATIO, cell, three_digits

WIDTH = 100
_DENSE = "of dense"
_AGREEMENT = [column for column in FIGURES if column[0] in ("equal_argmax", "largest_difference")]


def table(report: Mapping[str, Any]) -> str:
    """The report as aligned plain text, one row each for the baselines, the model and the formats.

    How good, how large and how fast each is, with its ratio: to the first baseline, else the model; to dense float32
    weights; to the `float32` file. `report.html` has the rest. Of several metrics, as many as fit, and gzip if it does.
    Without any metric, how far answers are those of the model.

    Example:
        >>> dense = {"metrics": {"miou": 0.75}}
        >>> int8 = {"status": "ok", "bytes": 4096, "gzip_bytes": 2048, "metrics": {"miou": 0.74}}
        >>> print(table({"baselines": {"dense": dense}, "model": {"parameters": 4096}, "formats": {"int8": int8}}))
                 miou  of dense  bytes  of dense  gzip bytes
        dense  0.7500      1.00      -         -           -
        model       -         -      -         -           -
        int8   0.7400     0.987  4,096     0.250       2,048
    """
    names = metric_names(delivered(report))
    rows = _rows(report, names)
    while len(names) > 1 and _width(rows) > WIDTH:
        names = names[:-1]
        rows = _rows(report, names)
    if _width(rows) > WIDTH:
        rows = _rows(report, names, has_gzip=False)
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


def _rows(report: Mapping[str, Any], metrics: list[str], *, has_gzip: bool = True) -> list[list[str]]:
    """The heading and a row for each entry; a ratio behind the first metric, the bytes and the time."""
    entries, dense = delivered(report), FLOAT_BYTES * (report["model"].get("parameters") or 0)
    first = metrics[0] if metrics else ""
    others = {**report["baselines"], "model": report["model"]}.values()
    reference = next((one["metrics"][first] for one in others if first in one.get("metrics", {})), None)
    timed = [one for one in LATENCIES if any(one[0] in entry.get("latency_ms", {}) for entry in entries.values())][:1]
    told = [one for one in _AGREEMENT if any(entry.get(one[0]) is not None for entry in entries.values())]
    agreement = [] if metrics else told
    head = [
        "",
        *metrics,
        *(heading for _, heading, _ in agreement),
        "bytes",
        *[_DENSE] * bool(dense),
        *["gzip bytes"] * has_gzip,
    ]
    head += [text for _, heading in timed for text in (heading, RATIO)]
    if reference:
        head.insert(2, _DENSE if report["baselines"] else "of model")
    rows = [[printable(one) for one in head]]
    for name, entry in entries.items():
        row = [printable(name), *(cell(entry.get("metrics", {}).get(metric), "{:.4f}") for metric in metrics)]
        row += [cell(entry.get(key), pattern) for key, _, pattern in agreement]
        if reference:
            row.insert(2, _ratio(entry.get("metrics", {}).get(first), reference))
        row.append(cell(entry.get("bytes"), "{:,}"))
        if dense:
            row.append(_ratio(entry.get("bytes"), dense))
        row += [cell(entry.get("gzip_bytes"), "{:,}")] * has_gzip
        for key, _ in timed:
            times = entry.get("latency_ms", {}).get(key, {})
            row += [latency_figures.cell(one, with_interval=False) for one in (times, times.get("ratio_to_float32"))]
        rows.append(row)
    return rows


def _ratio(value: float | None, base: float) -> str:
    return "-" if value is None else three_digits(value / base)


def _width(rows: list[list[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True)) - 2
