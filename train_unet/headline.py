"""The report of an export -> one line that a person understands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FLOATS = {"saved_model", "float32", "float16", "onnx", "tensorrt", "tvm"}
MEGABYTE = 1e6


def headline(report: Mapping[str, Any], *, lookup: float, dense: float | None = None) -> str:
    """What has been gained, by the fastest integer file; the smallest after gzip where none was timed.

    Args:
        report: of the export.
        lookup: mIoU of a lookup from colour to class.
        dense: mIoU of the plain float model that was trained equally long, if there is one.

    Returns:
        a line, empty where no integer file was delivered.

    >>> entry = {"status": "ok", "file": "int8.tflite", "bytes": 240000, "gzip_bytes": 140000}
    >>> entry["metrics"] = {"mIoU": 0.757}
    >>> report = {"model": {"parameters": 490000}, "formats": {"int8": entry}}
    >>> print(headline(report, lookup=0.744, dense=0.759))  # doctest: +NORMALIZE_WHITESPACE
    int8.tflite: 0.24 MB (0.14 MB after gzip), 8.2 times smaller than the float weights; mIoU 0.757 (dense float model
    0.759, colour lookup 0.744)
    """
    integers = {name: one for name, one in report["formats"].items() if name not in FLOATS and one["status"] == "ok"}
    if not integers:
        return ""
    times = {name: found for name, one in integers.items() if (found := _ratio(one)) is not None}
    ranks = times or {name: one["gzip_bytes"] for name, one in integers.items()}
    name = min(ranks, key=lambda one: ranks[one])
    best, floats = integers[name], 4 * report["model"]["parameters"] / MEGABYTE
    size, packed = best["bytes"] / MEGABYTE, best["gzip_bytes"] / MEGABYTE
    gained = f"{floats / size:.1f} times smaller than the float weights"
    if name in times:
        gained += f" and {1 / times[name]:.1f} times as fast as float32"
    others = [f"dense float model {dense:.3f}"] if dense is not None else []
    others.append(f"colour lookup {lookup:.3f}")
    told = f"mIoU {best['metrics']['mIoU']:.3f} ({', '.join(others)})"
    return f"{best['file']}: {size:.2f} MB ({packed:.2f} MB after gzip), {gained}; {told}"


def _ratio(entry: Mapping[str, Any]) -> float | None:
    """Its time as a fraction of that of `float32`, on one thread; `None` where that was not timed."""
    times: Mapping[str, Any] = next(iter(entry.get("latency_ms", {}).values()), {})
    ratio = times.get("ratio_to_float32")
    return None if ratio is None else float(ratio["median"])
