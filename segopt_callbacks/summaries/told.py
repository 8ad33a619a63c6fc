"""What the page `segopt` of TensorBoard is told beside scalars, histograms and pictures. Pure NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from segopt_callbacks.records import Codebook, Report

_MOST_VALUES = 256  # of a codebook, beyond which lines cannot be told apart


def weights_record(
    values: Mapping[str, np.ndarray], shared: Mapping[str, np.ndarray], codebooks: Mapping[str, Codebook]
) -> dict[str, Any]:
    """What each weight is now.

    Args:
        values: path -> a weight of any shape.
        shared: path -> the distinct values of a weight, ascending.
        codebooks: of clustered weights.

    Returns:
        path -> `shape`, `low` and `high` (`None` where nothing is finite); of a clustered weight `error`, and its
        `values` where they are 256 at most.

    Example:
        >>> weights_record({"kernel": np.array([[0.5, -1.0]])}, {}, {})
        {'kernel': {'shape': [1, 2], 'low': -1.0, 'high': 0.5}}
    """
    record: dict[str, Any] = {}
    for path, value in values.items():
        finite = value[np.isfinite(value)]
        low, high = (_short(finite.min()), _short(finite.max())) if finite.size else (None, None)
        record[path] = {"shape": list(value.shape), "low": low, "high": high}
        if path in codebooks:
            record[path]["error"] = _short(codebooks[path].error)
            if shared[path].size <= _MOST_VALUES:
                record[path]["values"] = [_short(one) for one in shared[path] if np.isfinite(one)]
    return record


def overall_error(codebooks: Mapping[str, Codebook], values: Mapping[str, np.ndarray]) -> float:
    """The error of clustering over all clustered weights: the mean of theirs, weighted by their elements.

    Args:
        codebooks: of clustered weights, one at least; `error` is relative to the weight's variance.
        values: path -> a weight of any shape.
    """
    sizes = {path: values[path].size for path in codebooks}
    return sum(codebooks[path].error * size for path, size in sizes.items()) / max(sum(sizes.values()), 1)


def results_record(report: Report | None, last_epoch: Mapping[str, float]) -> dict[str, Any]:
    """What came of a fit.

    Args:
        report: of its export, where there was one.
        last_epoch: figures of its last epoch.

    Returns:
        `last_epoch`, `metrics` of the model, and `formats`: name -> `status` and, where a file was made, its `file`,
        `bytes`, `gzip_bytes`, `metrics`, `latency_ms` and, where it holds integers, `weights`: path -> their `dtype`,
        `scales` and `scale_range`.
    """
    formats = report["formats"] if report else {}
    return {
        "last_epoch": finite_figures(last_epoch),
        "metrics": finite_figures(report["model"]["metrics"]) if report else {},
        "formats": {name: _format_record(entry) for name, entry in formats.items()},
    }


def result_scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """The figures of `results_record` as tags.

    Example:
        >>> files = {"int8": {"status": "ok", "bytes": 9, "gzip_bytes": 7, "metrics": {"mIoU": 0.5}}}
        >>> result_scalars({"last_epoch": {"loss": 0.1}, "formats": files})
        {'epoch/loss': 0.1, 'export/int8/bytes': 9, 'export/int8/gzip_bytes': 7, 'export/int8/mIoU': 0.5}
    """
    scalars = {f"epoch/{name}": value for name, value in record["last_epoch"].items()}
    for name, entry in record["formats"].items():
        figures = {key: entry.get(key) for key in ("bytes", "gzip_bytes", "latency_ms")} | entry.get("metrics", {})
        scalars |= {f"export/{name}/{key}": value for key, value in figures.items() if value is not None}
    return scalars


def finite_figures(figures: Mapping[str, Any]) -> dict[str, float]:
    """Those that are finite numbers.

    >>> finite_figures({"loss": np.float32(0.5), "nan": float("nan"), "text": "x"})
    {'loss': 0.5}
    """
    numbers = {name: one for name, one in figures.items() if np.ndim(one) == 0 and not isinstance(one, str | None)}
    return {name: float(one) for name, one in numbers.items() if math.isfinite(one)}


def _format_record(entry: Mapping[str, Any]) -> dict[str, Any]:
    if entry["status"] != "ok":
        return {"status": entry["status"]}
    record = {key: entry[key] for key in ("status", "file", "bytes", "gzip_bytes")}
    record["metrics"] = finite_figures(entry["metrics"])
    if times := entry.get("latency_ms", {}).get("one_thread"):
        record["latency_ms"] = times["median"]
    rows = {row["weight"]: row for row in entry.get("weights", ()) if row["weight"] and row.get("scale_range")}
    if rows:
        keys = ("dtype", "scales", "scale_range")
        record["weights"] = {path: {key: row[key] for key in keys} for path, row in rows.items()}
    return record


def _short(value: Any) -> float:
    """Four digits, which is more than a screen shows."""
    return float(f"{float(value):.4g}")
