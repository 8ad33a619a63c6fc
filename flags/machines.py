"""Devices and machines."""

from __future__ import annotations

from typing import Any

from absl import flags as absl_flags

STRATEGIES = ("none", "mirrored", "multi_worker")


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`; after all others."""
    absl_flags.DEFINE_enum(
        "strategy",
        "none",
        STRATEGIES,
        "Where one model trains, each batch split among all: none (one device), mirrored (the GPUs of this machine) or "
        "multi_worker (the processes that TF_CONFIG names, with Keras 2). A name.",
        flag_values=values,
    )
    absl_flags.register_multi_flags_validator(["strategy", "search", "sensitivity"], _check, flag_values=values)


def _check(current: dict[str, Any]) -> bool:
    if current["search"] and current["strategy"] != "none":
        raise absl_flags.ValidationError(
            "--search trains one model on one device; start it on each with the same --storage, and leave --strategy "
            f"out. Received: --search --strategy={current['strategy']}."
        )
    if current["sensitivity"] and current["strategy"] == "multi_worker":
        raise absl_flags.ValidationError(
            "--sensitivity is measured by one process; leave it out. Received: --sensitivity --strategy=multi_worker."
        )
    return True
