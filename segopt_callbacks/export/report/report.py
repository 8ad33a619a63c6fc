"""The report of an export: `report.json` for programs, `report.md` for people too, a page with plots."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from segopt_callbacks.export.baselines import as_baselines
from segopt_callbacks.export.checks import latency_figures
from segopt_callbacks.export.report.shown import ShownReport
from segopt_callbacks.export.report.text import delivered, failures, metric_names
from segopt_callbacks.pages import (
    EXPLANATION,
    FIGURES,
    LATENCIES,
    RATIO,
    cell,
    kept_pictures,
    page,
    parse_channels,
    removed_words,
    write_whole,
)
from segopt_callbacks.records import Report, changes_markdown
from segopt_callbacks.sizes import CorruptFileError, file_bytes, gzip_bytes, read_ledger
from segopt_callbacks.sizes import markdown as md

JSON_NAME, MARKDOWN_NAME, HTML_NAME = REPORTS = ("report.json", "report.md", "report.html")


def write_report(
    export_dir: str | os.PathLike[str], report: Mapping[str, Any], pictures: Mapping[str, str] | None = None
) -> None:
    """Writes `report.json`, `report.md` and `report.html`, each complete or not at all.

    Args:
        export_dir: an existing folder.
        report: as `export_model` returns it.
        pictures: of disagreement, see `pages.page`.
    """
    folder = Path(export_dir)
    write_whole(folder / JSON_NAME, json.dumps(report, indent=2, allow_nan=False) + "\n")
    write_whole(folder / MARKDOWN_NAME, markdown(report))
    write_whole(folder / HTML_NAME, page(report, pictures))


def add_baseline(export_dir: str | os.PathLike[str], name: str, metrics: Mapping[str, float]) -> Report:
    """Adds a row for comparison, such as a dense model that was trained equally long, to a written report.

    Args:
        export_dir: where `export_model` has written its report.
        name: of the row; an earlier one of that name is replaced.
        metrics: name -> value, by the names of the report's own metrics.

    Returns:
        the whole report.

    Raises:
        FileNotFoundError: if there is no report yet.
        ValueError: if the name is taken by the model or a format, or a metric is no finite number.
    """
    path = Path(export_dir) / JSON_NAME
    if not path.exists():
        raise FileNotFoundError(f"`export_dir` must hold a report; export there first. Received: {path} is missing.")
    report = cast(Report, ShownReport(json.loads(path.read_text(encoding="utf-8"))))
    report["baselines"] |= as_baselines({name: metrics}, report["formats"])
    write_report(export_dir, report, kept_pictures(path.with_name(HTML_NAME)))
    return report


def weighed(path: Path) -> dict[str, Any]:
    """`bytes`, `gzip_bytes` and, for the formats that `segopt-sizes` reads, `ledger`: what those bytes are.

    Args:
        path: a delivered file or folder.
    """
    try:
        ledger = asdict(read_ledger(path))
    except (CorruptFileError, OSError):
        return {"bytes": file_bytes(path), "gzip_bytes": gzip_bytes(path)}
    del ledger["path"]  # of the workspace
    return {"bytes": ledger["whole_bytes"], "gzip_bytes": ledger["gzip_bytes"], "ledger": ledger}


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a page: the table, what failed, and the audit of weights and activations."""
    head, *body = _rows(report)
    head, body = [md.plain(one) for one in head], [[md.plain(row[0]), *row[1:]] for row in body]
    lines = ["# Export report", "", _verified_on(report), "", *_markdown_table(head, body), "", EXPLANATION, ""]
    about = report.get("latency", {}).get("about")
    lines += [md.prose(about), ""] if about else []
    warnings = [f"- {md.prose(warning)}" for warning in report.get("warnings", ())]
    doubts = [(name, one) for name, entry in report["formats"].items() for one in entry.get("warnings", ())]
    warnings += [f"- {md.code(name)}: {md.prose(one)}" for name, one in doubts]
    if warnings:
        lines += ["## Warnings", "", *warnings, ""]
    failed = failures(report)
    if failed:
        lines += ["## Failed", "", *(f"- {md.code(name)}: {md.prose(why)}" for name, why in failed), ""]
    outputs = [[md.plain(cell) for cell in row] for row in _output_rows(report)]
    if outputs:
        head = ["format", "output", "largest diff.", "relative diff.", "equal argmax"]
        lines += ["## Outputs", "", *_markdown_table(head, outputs), ""]
    lines += _channels(report)
    if report.get("sensitivity"):
        lines += ["## Sensitivity", "", *changes_markdown(report["sensitivity"]), ""]
    for entry in report["formats"].values():
        if entry.get("weights"):
            lines += [f"## Weights in {md.code(entry['file'])}", "", *_weight_table(entry["weights"]), ""]
        if entry.get("activations"):
            dtypes = Counter(activation["dtype"] for activation in entry["activations"])
            counts = ", ".join(f"{count} {md.plain(dtype)}" for dtype, count in dtypes.most_common())
            lines += [f"Activations, inputs and outputs: {counts}.", ""]
        if entry.get("notes"):
            lines += [*(f"- {md.prose(name)}: {md.prose(note)}" for name, note in entry["notes"].items()), ""]
    return "\n".join(lines)


def told_of_ranges(ranges: Mapping[str, Any]) -> str:
    """Where the ranges of a file's activations come from.

    >>> told_of_ranges({"learned": 2, "calibrated": ["add"], "method": "min_max"})
    '2 learned in training, 1 calibrated on representative data (min_max): add'
    >>> told_of_ranges({"learned": 2, "calibrated": []})
    '2 learned in training'
    """
    parts = [f"{ranges['learned']} learned in training"] if ranges["learned"] else []
    if names := ranges["calibrated"]:
        parts.append(f"{len(names)} calibrated on representative data ({ranges['method']}): {', '.join(names)}")
    return ", ".join(parts)


def _rows(report: Mapping[str, Any]) -> list[list[str]]:
    entries = delivered(report)
    metrics = metric_names(entries)
    keys = [(key, heading) for key, heading in LATENCIES if any(entry.get("latency_ms") for entry in entries.values())]
    rows = [["", *metrics, *(heading for _, heading, _ in FIGURES)]]
    rows[0] += [text for _, heading in keys for text in (heading, RATIO)]
    for name, entry in entries.items():
        values = [cell(entry.get("metrics", {}).get(metric), "{:.4f}") for metric in metrics]
        rows.append([name, *values, *(cell(entry.get(key), pattern) for key, _, pattern in FIGURES)])
        for key, _ in keys:
            times = entry.get("latency_ms", {}).get(key, {})
            for one in (times, times.get("ratio_to_float32")):
                rows[-1].append(latency_figures.cell(one, with_interval=True))
    return rows


def _output_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Each output of each file, and channels that have units of their own; empty where the main table says it all."""
    rows = []
    for name, entry in report["formats"].items():
        outputs = entry.get("outputs", ())
        for one in outputs if len(outputs) > 1 or any(one.get("channels") for one in outputs) else ():
            figures = [cell(one.get(key), "{:.2e}") for key in ("largest_difference", "relative_difference")]
            rows.append([f"`{name}`", f"`{one['name']}`", *figures, cell(one.get("equal_argmax"), "{:.4f}")])
            for channel in one.get("channels", ()):
                label = f"`{one['name']}`, channel {channel['channel']} (up to {channel['magnitude']:.2g})"
                rows.append([f"`{name}`", label, "-", f"{channel['relative_difference']:.2e}", "-"])
    return rows


def _channels(report: Mapping[str, Any]) -> list[str]:
    """What became of channels that are zero whatever the input; empty where there are none."""
    channels = parse_channels(report.get("channels"))
    if channels is None:
        return []
    lines = ["## Channels", "", removed_words(channels), ""]
    rows = [[md.code(one.tensor), str(one.channels), md.prose(one.reason)] for one in channels.left]
    return lines + (
        ["These are zero and stay:", "", *_markdown_table(["", "channels", "why"], rows), ""] if rows else []
    )


def _verified_on(report: Mapping[str, Any]) -> str:
    verified = report["verification"]
    name, examples = report["model"]["name"], verified["examples"]
    return f"Model {md.code(name)}; every file was run on {examples} examples ({md.plain(verified['data'])})."


def _weight_table(weights: list[dict[str, Any]]) -> list[str]:
    head = ["weight", "shape", "dtype", "zeros", "distinct", "distinct/channel", "scales"]
    body = [
        [
            md.code(row["weight"] or row["name"]),
            "x".join(map(str, row["shape"])),
            md.plain(row["dtype"]),
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
