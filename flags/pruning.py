"""Pruning."""

from __future__ import annotations

import re
from typing import Any

from absl import flags as absl_flags

from flags.rules import require, require_switch

DISTRIBUTIONS = ("erk", "uniform", "global", "latency")
PATTERNS = ("none", "pairs", "block", "n_of_m", "channel")


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`. `--filters` serves pruning and clustering."""
    _define_when(values)
    _define_which(values)
    require(
        values, "target_sparsity", lambda value: 0 < value < 1, "a fraction of zeros above 0 and below 1", "80% is 0.8"
    )
    for name in ("prune_begin", "prune_end"):
        require(values, name, lambda value: 0 <= value <= 1, "a fraction of the training, in [0, 1]", "half is 0.5")
    require(values, "prune_frequency", lambda value: value >= 1, "a whole number of steps of at least 1")
    require(values, "filters", _are_regexes, "regular expressions", "escape what is special in them")
    absl_flags.register_multi_flags_validator(["prune_begin", "prune_end"], _check_order, flag_values=values)
    absl_flags.register_multi_flags_validator(
        ["pattern", "distribution", "target_sparsity"], _check_pattern, flag_values=values
    )
    names = ["prune_begin", "prune_end", "prune_frequency", "distribution", "pattern"]
    require_switch(values, ("prune",), names)


def _define_when(values: absl_flags.FlagValues) -> None:
    """How many zeros, and when."""
    absl_flags.DEFINE_boolean(
        "prune", False, "Set the smallest weights to zero while training. Yes or no.", flag_values=values
    )
    absl_flags.DEFINE_float(
        "target_sparsity",
        0.8,
        "Sparsity at the end of pruning. Unit: fraction of zeros over the selected weights, in (0, 1).",
        flag_values=values,
    )
    absl_flags.DEFINE_float(
        "prune_begin", 0.1, "When pruning begins. Unit: fraction of the training, in [0, 1].", flag_values=values
    )
    absl_flags.DEFINE_float(
        "prune_end",
        0.6,
        "When the target sparsity is reached; held from then on. Unit: fraction of the training, in [0, 1].",
        flag_values=values,
    )
    absl_flags.DEFINE_integer(
        "prune_frequency", 20, "Steps from one raise of the sparsity to the next. Unit: steps.", flag_values=values
    )


def _define_which(values: absl_flags.FlagValues) -> None:
    """Which weights become zeros."""
    absl_flags.DEFINE_enum(
        "distribution",
        "erk",
        DISTRIBUTIONS,
        "How the zeros spread over the weights: erk (small weights stay dense, their mean meets the target), uniform "
        "(each meets the target), global (one threshold for all, their mean meets the target) or latency (with "
        "--pattern=channel: the target is the fraction of the layers' time on this machine that goes). A name.",
        flag_values=values,
    )
    absl_flags.DEFINE_enum(
        "pattern",
        "none",
        PATTERNS,
        "What is pruned together: none (each weight by itself), pairs (2 neighbouring input channels; the smallest "
        "files after gzip), block (1 input by 4 output channels), n_of_m (2 of 4 input channels are kept; needs "
        "--distribution=uniform) or channel (whole output channels). A name.",
        flag_values=values,
    )
    absl_flags.DEFINE_multi_string(
        "filters",
        [],
        "Weights to prune and cluster: regular expression on the weight's path, such as conv_1/kernel; repeat the flag "
        "for several. When not given: every kernel.",
        flag_values=values,
    )


def _are_regexes(patterns: list[str]) -> bool:
    try:
        return all(re.compile(pattern) for pattern in patterns)
    except re.error:
        return False


def _check_order(current: dict[str, Any]) -> bool:
    begin, end = current["prune_begin"], current["prune_end"]
    if not begin < end:
        raise absl_flags.ValidationError(
            f"--prune_begin must be smaller than --prune_end; lower it. Received: --prune_begin={begin} "
            f"--prune_end={end}."
        )
    return True


def _check_pattern(current: dict[str, Any]) -> bool:
    if current["distribution"] == "latency" and current["pattern"] != "channel":
        raise absl_flags.ValidationError(
            "--distribution=latency prunes whole channels; add --pattern=channel. Received: --distribution=latency "
            f"--pattern={current['pattern']}."
        )
    if current["pattern"] != "n_of_m":
        return True
    if current["distribution"] == "erk":
        raise absl_flags.ValidationError(
            "--pattern=n_of_m needs the same sparsity in every weight; add --distribution=uniform. Received: "
            "--distribution=erk --pattern=n_of_m."
        )
    if current["target_sparsity"] < 0.5:
        raise absl_flags.ValidationError(
            "--pattern=n_of_m needs a --target_sparsity of at least 0.5; raise it. Received: "
            f"--pattern=n_of_m --target_sparsity={current['target_sparsity']}."
        )
    return True
