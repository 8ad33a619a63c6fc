"""Clustering."""

from __future__ import annotations

from absl import flags as absl_flags

from flags.rules import require, require_switch


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`; after those of pruning."""
    absl_flags.DEFINE_boolean(
        "cluster", False, "Share the values of each weight among a few. Yes or no.", flag_values=values
    )
    absl_flags.DEFINE_integer(
        "number_of_clusters",
        16,
        "Distinct values in each weight, the zero of pruning included. Unit: values.",
        flag_values=values,
    )
    absl_flags.DEFINE_float(
        "cluster_begin",
        0.8,
        "When weights begin to share values, which are trained from there on; 1 is when training ends. Unit: fraction "
        "of the training, in [0, 1].",
        flag_values=values,
    )
    absl_flags.DEFINE_boolean(
        "cluster_per_channel",
        False,
        "Give each output channel as many values of its own. Yes or no.",
        flag_values=values,
    )
    require(
        values, "cluster_begin", lambda value: 0 <= value <= 1, "a fraction of the training, in [0, 1]", "half is 0.5"
    )
    require(values, "number_of_clusters", lambda value: value >= 2, "a whole number of at least 2", "16 fit 4 bits")
    require_switch(values, ("cluster",), ["cluster_begin", "cluster_per_channel"])
    require_switch(values, ("prune", "cluster"), ["filters"])
