"""Search of the settings of compression, in place of one training."""

from __future__ import annotations

from typing import Any

from absl import flags as absl_flags

from flags.rules import require, require_switch

BOUNDS = ("max_bytes", "max_latency_ms", "min_metric", "max_metric_loss")
# What a search chooses for itself, or has no use for.
_DECIDED = (
    *("goal", "prune", "cluster", "quantize", "sensitivity", "baseline", "export_formats", "latency", "log_dir"),
    *("float_fallback", "allow_float", "sparse", "accelerator", "remove_channels"),
)


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`; after all others."""
    absl_flags.DEFINE_boolean(
        "search",
        False,
        "Search the settings of pruning, clustering and quantization, and the width of the network, for the model that "
        "meets --max_bytes, --max_latency_ms, --min_metric or --max_metric_loss on the validation split, by two seeds. "
        "Goes on where it was stopped. Needs the extra [search]. Yes or no.",
        flag_values=values,
    )
    _define_bounds(values)
    absl_flags.DEFINE_integer(
        "trials", 12, "Settings to try; each is a whole training. Unit: trainings.", flag_values=values
    )
    absl_flags.DEFINE_string(
        "storage",
        None,
        "Database that several processes or machines share, such as postgresql+psycopg://user@host/name; a file in "
        "--output_dir when not given. A URL.",
        flag_values=values,
    )
    require(values, "trials", lambda value: value >= 1, "a whole number of at least 1")
    for name in ("max_bytes", "max_latency_ms"):
        require(values, name, lambda value: value is None or value > 0, "above 0", "40 kB are --max_bytes=40000")
    require(values, "min_metric", lambda value: value is None or 0 < value < 1, "an mIoU above 0 and below 1")
    require(values, "max_metric_loss", lambda value: value is None or 0 <= value < 1, "a distance in [0, 1)")
    require_switch(values, ("search",), [*BOUNDS, "trials", "storage"])
    absl_flags.register_multi_flags_validator(["search", *BOUNDS], _check_bounds, flag_values=values)
    _exclude(values)


def _define_bounds(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_integer(
        "max_bytes", None, "The most that the file may have after gzip -9. Unit: bytes.", flag_values=values
    )
    absl_flags.DEFINE_float(
        "max_latency_ms",
        None,
        "The most that one inference may take on one thread. Unit: milliseconds.",
        flag_values=values,
    )
    absl_flags.DEFINE_float(
        "min_metric", None, "The least mIoU of the file on the validation split. Unit: mIoU.", flag_values=values
    )
    absl_flags.DEFINE_float(
        "max_metric_loss",
        None,
        "How far the file's mIoU may be below that of the dense float32 file, which is trained first. Unit: mIoU.",
        flag_values=values,
    )


def _check_bounds(current: dict[str, Any]) -> bool:
    if current["search"] and all(current[name] is None for name in BOUNDS):
        raise absl_flags.ValidationError(
            f"--search needs a bound; add one of {', '.join(f'--{name}' for name in BOUNDS)}. Received: --search."
        )
    return True


def _exclude(values: absl_flags.FlagValues) -> None:
    """The rule that nothing is given that a search decides for itself."""

    def check(current: dict[str, Any]) -> bool:
        given = [name for name in _DECIDED if values[name].present]
        if current["search"] and given:
            name = given[0]
            value = ",".join(current[name]) if isinstance(current[name], list) else current[name]
            raise absl_flags.ValidationError(
                f"--{name} must be left out with --search, which decides for itself. Received: --search "
                f"--{name}={value}."
            )
        return True

    absl_flags.register_multi_flags_validator(["search", *_DECIDED], check, flag_values=values)
