"""Clustering."""

from __future__ import annotations

from absl import flags as absl_flags

from flags.rules import require, require_switch


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`; after those of pruning."""
    absl_flags.DEFINE_boolean(
        "cluster", False, "Share the values of each weight among a few, after training. Yes or no.", flag_values=values
    )
    absl_flags.DEFINE_integer(
        "number_of_clusters",
        16,
        "Distinct values in each weight, the zero of pruning included. Unit: values.",
        flag_values=values,
    )
    require(values, "number_of_clusters", lambda value: value >= 2, "a whole number of at least 2", "16 fit 4 bits")
    require_switch(values, ("cluster",), ["number_of_clusters"])
    require_switch(values, ("prune", "cluster"), ["filters"])
