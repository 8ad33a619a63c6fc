"""Export."""

from __future__ import annotations

from absl import flags as absl_flags

from flags.rules import require

FORMATS = ("saved_model", "float32", "float16", "dynamic_int8", "int8")


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`."""
    absl_flags.DEFINE_list(
        "export_formats",
        list(FORMATS),
        "Files to export and verify after training: names separated by commas; empty for none. "
        f"Known: {', '.join(FORMATS)}.",
        flag_values=values,
    )
    absl_flags.DEFINE_boolean(
        "latency",
        True,
        "Time every exported file, on one thread and on all, which takes 10 seconds or more. Yes or no.",
        flag_values=values,
    )
    require(
        values,
        "export_formats",
        lambda names: set(names) <= set(FORMATS) and len(set(names)) == len(names),
        f"different names of {', '.join(FORMATS)}",
        "separate them by commas",
    )
