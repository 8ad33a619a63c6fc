"""Data and output."""

from __future__ import annotations

from pathlib import Path

from absl import flags as absl_flags

LANDCOVER = str(Path(__file__).resolve().parent.parent / "train_unet" / "data" / "landcover")


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`."""
    absl_flags.DEFINE_string(
        "data_dir",
        LANDCOVER,
        "Folder with images/, masks/, split.csv and classes.json. A path.",
        flag_values=values,
    )
    absl_flags.DEFINE_string(
        "output_dir",
        "runs",
        "Folder for the trained model (model.keras) and the exported files with their report (export/). A path.",
        flag_values=values,
    )
    absl_flags.DEFINE_string(
        "log_dir",
        None,
        "Folder for TensorBoard. A path; logs/ in --output_dir when not given.",
        flag_values=values,
    )
