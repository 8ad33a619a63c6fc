"""The report of an export -> one line that a person understands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segopt_callbacks.errors import printable
from segopt_callbacks.export.report.text import delivered, metric_names

_FLOATS = {"saved_model", "float32", "float16", "onnx", "tensorrt", "tvm"}
_FLOAT_BYTES = 4  # of a weight
_BASE = "float32"
_ALIKE = 1.1  # times the fastest: what two runs of a benchmark differ by


def headline(report: Mapping[str, Any], beside: Mapping[str, float] | None = None) -> str:
    """What an export has gained, by the smallest of its fastest integer files; after gzip where none was timed.

    Args:
        report: as `export_model` returns it.
        beside: name -> value, what its metric is compared with. Default: that of `float32`, or of the model in memory.

    Returns:
        a line; empty where no file was delivered, or none has a metric.

    Example:
        >>> entry = {"status": "ok", "file": "int8.tflite", "bytes": 240000, "gzip_bytes": 140000}
        >>> entry["metrics"] = {"mIoU": 0.757}
        >>> model = {"parameters": 490000, "metrics": {"mIoU": 0.759}}
        >>> print(headline({"model": model, "baselines": {}, "formats": {"int8": entry}}))
        int8.tflite: 0.24 MB (0.14 MB after gzip), 8.2 times smaller than the float weights; mIoU 0.757 (model 0.759)
    """
    entries = delivered(report)
    files = {name: one for name, one in entries.items() if name in report["formats"] and one.get("metrics")}
    if not files:
        return ""
    files = {name: one for name, one in files.items() if name not in _FLOATS} or files
    times = {name: found for name, one in files.items() if (found := _ratio(one)) is not None}
    fastest = [name for name, ratio in times.items() if ratio <= _ALIKE * min(times.values())]
    name = min(fastest or files, key=lambda one: files[one]["bytes" if fastest else "gzip_bytes"])
    best, metrics = files[name], metric_names({name: files[name]})
    told = f"{best['file']}: {_size(best['bytes'])} ({_size(best['gzip_bytes'])} after gzip), {_smaller(report, best)}"
    if name in times:
        told += f" and {1 / times[name]:.1f} times as fast as {_BASE}"
    if metrics:
        told += f"; {metrics[0]} {best['metrics'][metrics[0]]:.3f}{_beside(entries, name, metrics[0], beside)}"
    return printable(told)


def _size(number: int) -> str:
    return f"{number / 1e6:.2f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"


def _smaller(report: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    times = _FLOAT_BYTES * report["model"]["parameters"] / best["bytes"]
    told = f"{times:.1f} times smaller than" if times > 1 else f"{1 / max(times, 1e-9):.1f} times as large as"
    return f"{told} the float weights"


def _ratio(entry: Mapping[str, Any]) -> float | None:
    """Its time as a fraction of that of `float32`, on one thread; `None` where that was not timed."""
    times: Mapping[str, Any] = next(iter(entry.get("latency_ms", {}).values()), {})
    ratio = times.get("ratio_to_float32")
    return None if ratio is None else float(ratio["median"])


def _beside(entries: Mapping[str, Any], best: str, metric: str, given: Mapping[str, float] | None) -> str:
    """What the metric is compared with, in brackets."""
    if given is None:
        values = {name: entries.get(name, {}).get("metrics", {}).get(metric) for name in (_BASE, "model")}
        known = {name: value for name, value in values.items() if isinstance(value, float) and name != best}
        given = dict(list(known.items())[:1])
    told = ", ".join(f"{name} {value:.3f}" for name, value in given.items())
    return f" ({told})" if told else ""
