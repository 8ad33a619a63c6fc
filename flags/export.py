"""Export."""

from __future__ import annotations

from absl import flags as absl_flags

from flags.rules import require

DEFAULT = ("saved_model", "float32", "float16", "dynamic_int8", "int8")
# A test compares them with those of the library, which is not imported here: `--help` answers at once.
FORMATS = (
    *DEFAULT,
    *("int16x8", "weight_only_int8", "int4", "tflm_int8", "tflm_lut", "ethos_u"),
    *("onnx", "onnx_int8", "tensorrt", "openvino_int8", "tvm"),
)
ACCELERATORS = (
    *(f"ethos-u55-{size}" for size in (32, 64, 128, 256)),
    *(f"ethos-u65-{size}" for size in (256, 512)),
    *(f"ethos-u85-{size}" for size in (128, 256, 512, 1024, 2048)),
)


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`."""
    absl_flags.DEFINE_list(
        "export_formats",
        list(DEFAULT),
        "Files to export and verify after training: names separated by commas; empty for none. "
        f"Known: {', '.join(FORMATS)}; some take packages of their own (docs/formats.md).",
        flag_values=values,
    )
    absl_flags.DEFINE_boolean(
        "latency",
        True,
        "Time every exported file, on one thread and on all, which takes about half a second for each, more for large "
        "models. Yes or no.",
        flag_values=values,
    )
    _define_what_files_may_hold(values)
    require(
        values,
        "export_formats",
        lambda names: set(names) <= set(FORMATS) and len(set(names)) == len(names),
        f"different names of {', '.join(FORMATS)}",
        "separate them by commas",
        known=FORMATS,
    )


def _define_what_files_may_hold(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_boolean(
        "float_fallback",
        False,
        "Let integer files compute in float what has no integer form; the report names it. Yes or no.",
        flag_values=values,
    )
    absl_flags.DEFINE_list(
        "allow_float",
        [],
        "Operations (ELU) or layers that alone may compute in float in integer files: names separated by commas.",
        flag_values=values,
    )
    absl_flags.DEFINE_boolean(
        "sparse",
        True,
        "Leave the zeros of weights out of .tflite files where that makes them smaller. No for runtimes that take "
        "dense weights only: tflite-micro, NPUs. Yes or no.",
        flag_values=values,
    )
    absl_flags.DEFINE_boolean(
        "remove_channels",
        True,
        "Remove channels that are zero whatever the input from every file. Yes or no.",
        flag_values=values,
    )
    absl_flags.DEFINE_enum(
        "accelerator",
        ACCELERATORS[2],
        ACCELERATORS,
        "The NPU that the format ethos_u is compiled for, by Vela's name.",
        flag_values=values,
    )
