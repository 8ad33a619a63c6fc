"""Which weights to spare."""

from __future__ import annotations

from absl import flags as absl_flags

from flags.rules import require_switch


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`; after those of pruning and clustering."""
    absl_flags.DEFINE_boolean(
        "sensitivity",
        False,
        "After training, measure the mIoU on the validation split with one weight at a time rounded to 8 and 4 bits, "
        "pruned to --target_sparsity and clustered to --number_of_clusters, for --filters of the next run. Yes or no.",
        flag_values=values,
    )
    require_switch(values, ("prune", "sensitivity", "goal"), ["target_sparsity"])
    require_switch(values, ("cluster", "sensitivity"), ["number_of_clusters"])
