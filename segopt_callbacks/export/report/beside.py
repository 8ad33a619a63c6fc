"""Where a smaller format is larger or slower than `float32`, the report says so, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FLOAT32, FLOAT_BYTES = "float32", 4
_FEW = 20_000  # weights: some thousand bytes of scales and graph outweigh what integers save


def beside_float32(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Compares `.tflite` files of fewer bits with the float32 file of the same export.

    Args:
        entries: format -> its entry in the report.

    Returns:
        format -> a sentence, of those that are larger or slower.

    >>> entries = {"float32": {"status": "ok", "file": "float32.tflite", "bytes": 5000, "elements": 900}}
    >>> entries["int8"] = {"status": "ok", "file": "int8.tflite", "bytes": 6500, "elements": 900}
    >>> print(beside_float32(entries)["int8"])
    larger than float32.tflite (6,500 bytes against 5,000): of 900 weights, scales and graph outweigh what integers save
    """
    base = entries.get(FLOAT32, {})
    if base.get("status") != "ok":
        return {}
    told = {}
    for name, entry in entries.items():
        if name != FLOAT32 and entry.get("status") == "ok" and entry["file"].endswith(".tflite"):
            sentences = [one for one in (_larger(entry, base), _slower(entry)) if one]
            if sentences:
                told[name] = "; ".join(sentences)
    return told


def _larger(entry: Mapping[str, Any], base: Mapping[str, Any]) -> str | None:
    if entry["bytes"] <= base["bytes"]:
        return None
    if entry["elements"] <= _FEW:
        why = f"of {entry['elements']:,} weights, scales and graph outweigh what integers save"
    elif base["bytes"] < FLOAT_BYTES * base["elements"]:
        why = "that one leaves the zeros of its weights out, this one stores them; compare after gzip"
    else:
        why = "see docs/formats.md"
    return f"larger than {base['file']} ({entry['bytes']:,} bytes against {base['bytes']:,}): {why}"


def _slower(entry: Mapping[str, Any]) -> str | None:
    """Of what was timed on one thread; slower is what is so in the whole interval."""
    times: Mapping[str, Any] = next(iter(entry.get("latency_ms", {}).values()), {})
    ratio = times.get("ratio_to_float32") or {}
    if ratio.get("low", ratio.get("median", 0)) <= 1:
        return None
    why = "see docs/latency.md"
    if entry["elements"] <= _FEW:
        why = "so little is computed that the conversion of inputs and outputs outweighs it"
    return f"{ratio['median']:.1f} times the time of float32: {why}"
