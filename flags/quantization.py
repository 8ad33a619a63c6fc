"""Training against the rounding of integer files."""

from __future__ import annotations

from absl import flags as absl_flags

from flags.rules import require, require_switch

BITS = ("4", "8")


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`."""
    absl_flags.DEFINE_boolean(
        "quantize",
        False,
        "Train against the rounding of the int8 file, whose ranges are learned meanwhile. Yes or no.",
        flag_values=values,
    )
    absl_flags.DEFINE_float(
        "quantize_begin",
        0.5,
        "When rounding begins; ranges are observed from the first step on. Unit: fraction of the training, in [0, 1].",
        flag_values=values,
    )
    absl_flags.DEFINE_enum(
        "num_bits",
        "8",
        BITS,
        "What kernels are rounded to; tensors between them have 8. Unit: bits, 8 or 4.",
        flag_values=values,
    )
    absl_flags.DEFINE_boolean(
        "learn_ranges",
        False,
        "Train the ranges of tensors by gradients, once rounding has begun; else they are averages. Yes or no.",
        flag_values=values,
    )
    require(
        values, "quantize_begin", lambda value: 0 <= value <= 1, "a fraction of the training, in [0, 1]", "half is 0.5"
    )
    require_switch(values, ("quantize",), ["quantize_begin", "num_bits", "learn_ranges"])
