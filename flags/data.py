"""Data and output."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from absl import flags as absl_flags

from flags.rules import require

LANDCOVER = str(Path(__file__).resolve().parent.parent / "train_unet" / "data" / "landcover")
TFDS = "tfds:"  # --data_dir begins with it where it is the name of a TFDS data set


def define(values: absl_flags.FlagValues) -> None:
    """Defines the flags of this topic in `values`."""
    absl_flags.DEFINE_string(
        "data_dir",
        LANDCOVER,
        "Folder with images/, masks/, split.csv and classes.json, or a data set that TensorFlow Datasets has prepared, "
        "such as tfds:oxford_iiit_pet (extra [tfds]). A path or name.",
        flag_values=values,
    )
    _define_tfds(values)
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


def _define_tfds(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list(
        "tfds_keys",
        [],
        "Features of the TFDS data set that are image and mask; the only ones that fit when not given. Two keys.",
        flag_values=values,
    )
    absl_flags.DEFINE_list(
        "tfds_splits",
        [],
        "Splits of the TFDS data set for training, validation and test, such as train[:80%],train[80%:],test; when not "
        "given its own, and 10% of train for each that it lacks. Three splits.",
        flag_values=values,
    )
    require(values, "tfds_keys", lambda value: len(value) in (0, 2), "two keys", "--tfds_keys=IMAGE,MASK")
    require(values, "tfds_splits", lambda value: len(value) in (0, 3), "three splits", "--tfds_splits=TRAIN,VAL,TEST")
    absl_flags.register_multi_flags_validator(["data_dir", "tfds_keys", "tfds_splits"], _check_tfds, flag_values=values)


def _check_tfds(current: dict[str, Any]) -> bool:
    given = next((name for name in ("tfds_keys", "tfds_splits") if current[name]), None)
    if given and not current["data_dir"].startswith(TFDS):
        raise absl_flags.ValidationError(
            f"--{given} needs a data set of TFDS; add --data_dir=tfds:NAME, or leave --{given} out. "
            f"Received: --data_dir={current['data_dir']}."
        )
    return True


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
