"""What a plain training of the default network reaches on the embedded images: measured over seeds, and shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "main_job.jsonl"
WAY = "plain training"  # of benchmarks/main_job.py
# What makes a training another one than those that were measured.
_DECISIVE = (
    *("data_dir", "base_filters", "levels", "upsampling", "mixed_precision", "epochs", "batch_size", "learning_rate"),
    *("weight_decay", "loss", "tile", "ignore_class", "class_weights", "bands", "scale", "offset"),
)


def dense_over_seeds(values: Any) -> dict[str, float]:
    """Name -> mean test mIoU of plain trainings by these flags; empty where they were not measured.

    Args:
        values: the parsed flags.
    """
    if any(values[name].value != values[name].default for name in _DECISIVE):
        return {}
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    mious = [row["float32_metric"] for row in rows if row["way"] == WAY]
    return {f"dense float32, {len(mious)} seeds": float(np.mean(mious))} if mious else {}
