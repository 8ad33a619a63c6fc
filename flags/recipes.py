"""Goals: all of the compression by one flag."""

from __future__ import annotations

from typing import Any

from absl import flags as absl_flags

# A test compares them with those of the library, which is not imported here.
GOALS = ("balanced", "smallest", "fastest")
_DECIDED = ("prune", "cluster", "quantize")


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`; after those of pruning, clustering and quantization."""
    absl_flags.DEFINE_enum(
        "goal",
        None,
        GOALS,
        "What the model is compressed for, by settings that were chosen by measuring (docs/recipes.md): balanced (a "
        "small integer file, as good as the dense model), smallest (the fewest bytes after gzip) or fastest (channels "
        "go; for wide networks). It chooses what is exported too, unless --export_formats does; --target_sparsity "
        "overrides its own. A name.",
        flag_values=values,
    )
    absl_flags.register_multi_flags_validator(["goal", *_DECIDED], _check_alone, flag_values=values)


def _check_alone(current: dict[str, Any]) -> bool:
    given = [name for name in _DECIDED if current[name]]
    if current["goal"] and given:
        raise absl_flags.ValidationError(
            f"--goal decides by itself how to compress; leave --{given[0]} out. Received: --goal={current['goal']} "
            f"--{given[0]}."
        )
    return True
