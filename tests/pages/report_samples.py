"""Reports as `export_model` returns them, without an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LAYERS = 12


def weights(dtype: str) -> list[dict[str, Any]]:
    rows = []
    for number in range(LAYERS):
        channels = 8 * 2 ** (min(number, LAYERS - 1 - number) // 2)
        elements = 9 * channels * channels
        rows.append(
            {
                "name": f"converted_{number}",
                "weight": f"net/block_{number}/kernel",
                "shape": [3, 3, channels, channels],
                "dtype": dtype,
                "elements": elements,
                "zeros": elements * (number % 5) // 5,
                "distinct": 16,
                "max_distinct_per_channel": 16,
                "scales": channels,
            }
        )
    return rows


def entry(file: str, size: int, packed: int, miou: float, dtype: str, latency: float | None = None) -> dict[str, Any]:
    made = {
        "status": "ok",
        "file": file,
        "bytes": size,
        "gzip_bytes": packed,
        "entropy_bytes": packed * 4 // 5,
        "largest_difference": 0.0312,
        "relative_difference": 0.01,
        "mean_difference": 0.001,
        "equal_argmax": 0.9876,
        "metrics": {"mIoU": miou, "water": miou - 0.1, "forest": miou + 0.1, "barren": miou, "per_class": [0.5, 1.0]},
        "zeros": 0.4,
        "elements": 1000,
        "max_distinct_per_channel": 16,
        "weights": weights(dtype),
        "ledger": {
            "format": "tflite",
            "graph_bytes": size // 20,
            "weight_bytes": size - size // 20,
            "optimizer_bytes": 0,
            "whole_bytes": size,
            "gzip_bytes": packed,
            "duplicate_bytes": 0,
            "dtype": dtype,
            "absent_variables": 0,
            "constant_bytes": 0,
        },
    }
    if latency is not None:
        one = {"median": latency, "low": latency * 0.97, "high": latency * 1.1}
        made["latency_ms"] = {"one_thread": one, "all_threads": {key: value * 0.6 for key, value in one.items()}}
    return made


def report(shift: float = 0.0, *, latency: bool = True) -> dict[str, Any]:
    """Twelve formats crowded together, as they are, and one that failed."""
    rows = {
        "saved_model": ("saved_model", 2_265_858, 201_607, 0.7617, "float32", 30.0),
        "float32": ("float32.tflite", 1_963_464, 212_811, 0.7617, "float32", 16.9),
        "float16": ("float16.tflite", 994_696, 192_851, 0.7617, "float16", 17.0),
        "dynamic_int8": ("dynamic_int8.tflite", 513_576, 143_066, 0.7618, "int8", 14.0),
        "int8": ("int8.tflite", 521_328, 144_690, 0.7612, "int8", 8.1),
        "int16x8": ("int16x8.tflite", 530_328, 146_690, 0.7615, "int8", 22.1),
        "weight_only_int8": ("weight_only_int8.tflite", 515_576, 143_166, 0.7617, "int8", 18.0),
        "int4": ("int4.tflite", 313_576, 101_166, 0.7517, "int4", 9.0),
        "onnx": ("onnx.onnx", 1_954_464, 212_011, 0.7617, "float32", 12.9),
        "onnx_int8": ("onnx_int8.onnx", 541_328, 148_690, 0.7602, "int8", 5.9),
        "openvino_int8": ("openvino_int8", 641_328, 158_690, 0.7602, "uint8", 2.1),
        "tvm": ("tvm.so", 2_641_328, 1_158_690, 0.7617, "float32", 412.0),
    }
    formats: dict[str, Any] = {
        name: entry(file, size, packed, miou + shift, dtype, time if latency else None)
        for name, (file, size, packed, miou, dtype, time) in rows.items()
    }
    formats["int8"]["outputs"] = outputs()
    formats["tensorrt"] = {"status": "failed", "error": "the converter refuses the model", "earlier_file_kept": True}
    return {
        "model": {
            "name": "u_net",
            "parameters": 490_113,
            "metrics": {"mIoU": 0.7617 + shift},
            "zeros": 0.4,
            "weights": weights("float32"),
        },
        "formats": formats,
        "baselines": {"dense float32": {"metrics": {"mIoU": 0.7452}}},
        "verification": {"examples": 42, "data": "evaluation data", "fingerprint": {"inputs": "a1", "targets": "b2"}},
        "sensitivity": sensitivity(),
        "made": made(),
    }


def made() -> dict[str, Any]:
    return {
        "date": "2026-01-31T12:00:59+00:00",
        "versions": {"segopt-callbacks": "1.2.3", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
        "machine": {"cpu": "Z80", "cpus": 2, "system": "Linux x86_64"},
        "training": {
            "optimizer": "Adam",
            "steps": 1234,
            "callbacks": [
                {"name": "EarlyStopping"},
                {"name": "PruningScheduleCallback", "settings": {"schedule": "0.8", "distribution": "'erk'"}},
                {"name": "ClusterOnTrainEndCallback", "settings": {}},
            ],
        },
    }


def outputs() -> list[dict[str, Any]]:
    """A mask, and boxes beside scores."""
    figures = {"largest_difference": 0.25, "relative_difference": 0.0125, "mean_difference": 0.001}
    channels = [{"channel": number, "magnitude": 640 / 9**number, "relative_difference": 0.5} for number in range(5)]
    return [
        {"name": "mask", **figures, "equal_argmax": 0.9876},
        {"name": "boxes", **figures, "equal_argmax": None, "channels": channels},
    ]


def sensitivity() -> dict[str, Any]:
    """As `Sensitivity.entry` makes it."""
    return {
        "monitor": "mIoU",
        "higher_is_better": True,
        "untreated": 0.7617,
        "untreated_metrics": {"mIoU": 0.7617},
        "examples": 42,
        "treatments": ["int8", "prune 0.8"],
        "weights": [
            {
                "weight": f"net/sensitive_{number}/kernel",
                "elements": 1152,
                "metrics": {"int8": {"mIoU": 0.7617}, "prune": {"mIoU": 0.7617 - 0.02 * number}},
                "change": {"int8": 0.0 if number else None, "prune": -0.02 * number},
            }
            for number in range(3)
        ],
    }


def renamed(value: Any, text: str) -> Any:
    """The same report where every name that a user, a file or a converter chose is `text`, and keys begin with it."""
    if isinstance(value, dict):
        return {key: renamed(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, text) for one in value]
    return text if isinstance(value, str) and value not in ("ok", "failed") else value


def runs_below(top: Path) -> Path:
    """Three exports in folders of their own; returns `top`."""
    for number, name in enumerate(("dense", "pruned", "pruned & clustered")):
        folder = top / name / "export"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(report(-0.01 * number)))
        (folder / "report.html").write_text("a page")
    return top
