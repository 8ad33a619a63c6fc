"""Data and output."""

from __future__ import annotations

import math
from pathlib import Path

from absl import flags as absl_flags

from flags.rules import require

LANDCOVER = str(Path(__file__).resolve().parent.parent / "train_unet" / "data" / "landcover")


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`."""
    absl_flags.DEFINE_string(
        "data_dir",
        LANDCOVER,
        "Folder with images/, masks/, split.csv and classes.json. A path.",
        flag_values=values,
    )
    _define_reading(values)
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
    require(values, "tile", lambda value: value is None or value >= 1, "a whole number of at least 1", "128 is common")
    require(values, "bands", _are_bands, "whole numbers from 1 with commas between them", "such as 4,3,2")
    for name in ("scale", "offset"):
        require(values, name, _are_numbers, "numbers with commas between them", "one, or one for each band")


def _define_reading(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_integer(
        "tile",
        None,
        "Cut images of any size into tiles of this height and width; without it all images must have one size. Test "
        "images are also evaluated whole, their tiles blended. Unit: pixels.",
        flag_values=values,
    )
    absl_flags.DEFINE_string(
        "ignore_class",
        None,
        "Class that is left out of loss and metric, in place of the one in classes.json. A name or an id.",
        flag_values=values,
    )
    absl_flags.DEFINE_list(
        "class_weights",
        [],
        "Weights of the classes in the loss: balanced (each class has the same share), or a number for each class that "
        "is trained, by id. Unit: factors of the loss.",
        flag_values=values,
    )
    absl_flags.DEFINE_list(
        "bands",
        [],
        "Bands of the images to train on, from 1; three where none are named. TIFF needs rasterio, the extra [geo]. "
        "Unit: numbers of bands.",
        flag_values=values,
    )
    absl_flags.DEFINE_list(
        "scale",
        [],
        "What pixels are multiplied by to reach 0 to 255, for images of more than 8 bits; what goes beyond is clipped. "
        "One number, or one for each band. Unit: factor.",
        flag_values=values,
    )
    absl_flags.DEFINE_list(
        "offset",
        [],
        "What is added to scaled pixels. One number, or one for each band. Unit: bytes.",
        flag_values=values,
    )


def _are_bands(value: list[str]) -> bool:
    return all(one.isdecimal() and int(one) > 0 for one in value)


def _are_numbers(value: list[str]) -> bool:
    try:
        return all(math.isfinite(float(one)) for one in value)
    except ValueError:
        return False
