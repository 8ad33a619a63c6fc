"""A data set that TFDS has prepared: found on this machine by its name, with the features and splits to train on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from flags import FlagError
from segopt_callbacks.rules import did_you_mean

DEFAULT_PLACE = os.path.join("~", "tensorflow_datasets")  # of TFDS, without TFDS_DATA_DIR
VALIDATION = ("validation", "val", "valid", "dev")  # names of TFDS' data sets for it
SHARE = 10  # per cent of the training images that take the place of a split which a data set lacks


def find(name: str) -> Any:
    """The read-only builder of a prepared data set; nothing is downloaded, and none of its code runs.

    Args:
        name: of the data set; `NAME/CONFIG` and `NAME:VERSION` count too.

    Raises:
        FlagError: if TFDS is not installed, the data set is not prepared, or its files are no TFRecords.
    """
    try:
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import read_only_builder
    except ImportError:
        raise FlagError(
            "--data_dir=tfds:NAME needs TensorFlow Datasets; run `pip install 'segopt-callbacks[tfds]'`. "
            f"Received: --data_dir=tfds:{name}, without that package."
        ) from None
    place = os.path.expanduser(os.environ.get("TFDS_DATA_DIR") or DEFAULT_PLACE)
    try:
        builder = read_only_builder.builder_from_files(name, data_dir=place)
    except ValueError:
        builder = None
    if builder is None or not builder.info.splits:
        raise FlagError(_unprepared(name, place, tfds.list_builders(with_community_datasets=False)))
    if not builder.info.file_format.value.startswith("tfrecord"):
        raise FlagError(
            f"--data_dir=tfds:NAME must be in TFRecord files; run `tfds build {name} --file_format=tfrecord`. "
            f"Received: {builder.info.file_format.value}."
        )
    return builder


def _unprepared(name: str, place: str, known: Sequence[str]) -> str:
    """The sentence on a data set that is not there: one of the `known` names of TFDS, or another."""
    bare = name.partition("/")[0].partition(":")[0]
    where, hint = ("", "") if bare in known else (" in the folder of its code", did_you_mean(bare, known))
    return (
        f"--data_dir=tfds:NAME must be a data set that is prepared in {place}; run `tfds build {name}`{where}, or set "
        f"TFDS_DATA_DIR to where it is.{hint} Received: --data_dir=tfds:{name}."
    )


def choose_keys(features: Any, given: Sequence[str]) -> tuple[str, str]:
    """The keys of image and mask.

    Args:
        features: of the data set, by key.
        given: both keys, or nothing: then those of the only features that fit.

    Raises:
        FlagError: for a key that is none or does not fit, or where not exactly one feature fits.
    """
    fitting = {"image": _keys(features, is_mask=False), "mask": _keys(features, is_mask=True)}
    for key, (what, keys) in zip(given, fitting.items(), strict=False):
        if key not in keys:
            raise FlagError(_unfit(what, keys, key, features))
    for what, keys in {} if given else fitting.items():
        if len(keys) != 1:
            raise FlagError(_unfit(what, keys, "", features))
    image, mask = given or (keys[0] for keys in fitting.values())
    return image, mask


def _keys(features: Any, *, is_mask: bool) -> list[str]:
    import tensorflow_datasets as tfds

    return [
        key
        for key, feature in features.items()
        if isinstance(feature, tfds.features.Image)
        and (feature.shape[-1] == 1 if is_mask else feature.shape[-1] >= 3)
        and np.dtype(feature.np_dtype).kind == "u"
    ]


def _unfit(what: str, keys: list[str], given: str, features: Any) -> str:
    """The sentence on a feature that cannot be `what`."""
    rule = {"image": "an Image of 3 channels or more", "mask": "an Image or LabeledImage of whole numbers, 1 channel"}
    remedy = f"choose from {', '.join(keys)}" if keys else "build a data set that has one"
    shown = "; ".join(f"{key}: {_told(one)}" for key, one in features.items() if given in (key, "")) or given
    return f"--tfds_keys=IMAGE,MASK: the {what} must be {rule[what]}; {remedy}. Received: {shown}."


def _told(feature: Any) -> str:
    """The kind of a feature, with shape and type of an image."""
    kind = type(feature).__name__
    return f"{kind} {feature.shape} of {np.dtype(feature.np_dtype).name}" if kind.endswith("Image") else kind


def check_splits(splits: Any, chosen: Sequence[str]) -> None:
    """Refuses what TFDS does not take as a split, and slices without an example.

    Args:
        splits: of the data set, by name.
        chosen: in TFDS' syntax.

    Raises:
        FlagError: for the first one.
    """
    for one in chosen:
        try:
            count = splits[one].num_examples
        except (ValueError, KeyError, NotImplementedError):
            count = 0
        if not count:
            raise FlagError(
                "--tfds_splits=TRAIN,VAL,TEST must be splits with examples; choose from "
                f"{', '.join(splits)}, or slices of these such as train[:80%]. Received: {one}."
            )


def choose_splits(known: Sequence[str], given: Sequence[str]) -> tuple[str, str, str]:
    """The splits for training, validation and test, in TFDS' syntax.

    Args:
        known: splits of the data set.
        given: three splits, or nothing: then its own, and the last of its training images for what it lacks.

    Raises:
        FlagError: if there is nothing to train on.

    Example:
        >>> choose_splits(["train", "test"], [])
        ('train[:90%]', 'train[90%:100%]', 'test')
        >>> choose_splits(["train"], [])
        ('train[:80%]', 'train[80%:90%]', 'train[90%:100%]')
    """
    if given:
        train, val, test = given
        return train, val, test
    if "train" not in known:
        raise FlagError(
            "--tfds_splits=TRAIN,VAL,TEST must be given for a data set without a split `train`; such as "
            f"--tfds_splits={known[0]}[:80%],{known[0]}[80%:90%],{known[0]}[90%:]. Received: {', '.join(known)}."
        )
    own = [next((name for name in names if name in known), None) for names in (VALIDATION, ("test",))]
    start = 100 - SHARE * own.count(None)
    train = "train" if start == 100 else f"train[:{start}%]"
    cuts = (f"train[{first}%:{first + SHARE}%]" for first in range(start, 100, SHARE))
    val, test = (name or next(cuts) for name in own)
    return train, val, test
