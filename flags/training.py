"""Model and training."""

from __future__ import annotations

from absl import flags as absl_flags

from flags.rules import require

LOSSES = ("cross_entropy", "dice", "cross_entropy_dice")
UPSAMPLINGS = ("bilinear", "transposed")


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`."""
    _define_model(values)
    _define_optimization(values)
    for name in ("epochs", "batch_size", "base_filters", "growth"):
        require(values, name, lambda value: value >= 1, "a whole number of at least 1")
    require(values, "levels", lambda value: value >= 2, "a whole number of at least 2", "4 is a good start")
    require(values, "learning_rate", lambda value: 0 < value < 1, "above 0 and below 1", "0.003 is a good start")
    require(values, "weight_decay", lambda value: 0 <= value < 1, "in [0, 1)", "0.0001 is a good start")
    require(values, "seed", lambda value: 0 <= value < 2**31, "a whole number from 0 to 2147483647")


def _define_model(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_integer(
        "base_filters",
        16,
        "Filters of the first encoder. Unit: channels.",
        flag_values=values,
    )
    absl_flags.DEFINE_integer(
        "growth",
        1,
        "How many times as many filters each deeper level has: 1 makes a Lean U-Net, of one width, 2 the usual one. "
        "Unit: times.",
        flag_values=values,
    )
    absl_flags.DEFINE_integer(
        "levels",
        4,
        "Resolutions of the network, the full one included; height and width of the images must divide by "
        "2 ** (levels - 1). Unit: levels.",
        flag_values=values,
    )
    absl_flags.DEFINE_enum(
        "upsampling",
        "bilinear",
        UPSAMPLINGS,
        "How a decoder doubles height and width: bilinear (no weights) or transposed (a learned convolution). A name.",
        flag_values=values,
    )
    absl_flags.DEFINE_boolean(
        "mixed_precision",
        False,
        "Compute in float16 with float32 weights and logits; for GPUs, slower on CPUs. Yes or no.",
        flag_values=values,
    )
    absl_flags.DEFINE_boolean(
        "jit_compile",
        False,
        "Compile the training step with XLA; for GPUs, slower on most CPUs. Yes or no.",
        flag_values=values,
    )


def _define_optimization(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_integer("epochs", 24, "Passes over the training images. Unit: epochs.", flag_values=values)
    absl_flags.DEFINE_integer("batch_size", 8, "Images in a training step. Unit: images.", flag_values=values)
    absl_flags.DEFINE_float(
        "learning_rate",
        3e-3,
        "Highest learning rate of AdamW; it falls to 0 along a cosine. Unit: step size, in (0, 1).",
        flag_values=values,
    )
    absl_flags.DEFINE_float(
        "weight_decay",
        1e-4,
        "Decoupled weight decay of the kernels, times the learning rate. Unit: fraction of a weight, in [0, 1).",
        flag_values=values,
    )
    absl_flags.DEFINE_enum(
        "loss",
        "cross_entropy_dice",
        LOSSES,
        "What is minimised: cross_entropy, dice, or cross_entropy_dice (their sum). A name.",
        flag_values=values,
    )
    absl_flags.DEFINE_integer(
        "seed",
        0,
        "Seed of weights, order and augmentation; the same seed repeats a run. A whole number.",
        flag_values=values,
    )
    absl_flags.DEFINE_boolean(
        "baseline",
        False,
        "Also train the plain unpruned float32 model equally long and report its mIoU beside the others; doubles the "
        "time of training. Yes or no.",
        flag_values=values,
    )
