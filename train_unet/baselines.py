"""What files are compared with: a plain training, now or shipped as measured over seeds, and colour alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from train_unet.color_lookup import score
from train_unet.folder import DataFolder

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results.jsonl"
STUDY, WAY = "main_job", "plain training"  # of benchmarks/main_job.py
# What makes a training another one than those that were measured.
_DECISIVE = (
    *("data_dir", "base_filters", "levels", "growth", "upsampling", "mixed_precision", "epochs", "batch_size"),
    *("learning_rate", "weight_decay", "loss", "tile", "ignore_class", "class_weights", "bands", "scale", "offset"),
)


def known_baselines(values: Any, record: Mapping[str, Any], folder: DataFolder) -> dict[str, dict[str, float]]:
    """What a report compares files with: a dense model, and a lookup from colour to class; nothing without the first.

    Args:
        values: the parsed flags.
        record: of the run; `baseline` is the test mIoU of the dense model, where it was trained.
        folder: the images.
    """
    dense = {"dense float32": record["baseline"]} if "baseline" in record else dense_over_seeds(values)
    if not dense:  # the first one is what files are judged by, and a lookup is nothing to lose against
        return {}
    return {name: {"mIoU": miou} for name, miou in {**dense, "colour lookup": score(folder)}.items()}


def dense_over_seeds(values: Any) -> dict[str, float]:
    """Name -> mean test mIoU of plain trainings by these flags; empty where they were not measured.

    Args:
        values: the parsed flags.
    """
    if any(values[name].value != values[name].default for name in _DECISIVE):
        return {}
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    mious = [row["float32_metric"] for row in rows if row["study"] == STUDY and row["way"] == WAY]
    seeds = "1 seed" if len(mious) == 1 else f"{len(mious)} seeds"
    return {f"dense float32, {seeds}": float(np.mean(mious))} if mious else {}
