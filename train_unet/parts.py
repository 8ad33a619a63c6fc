"""Flag values -> the parts of a run: its data, model and callbacks. Only this file and `train` read the values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flags
from flags.data import TFDS


def open_data(values: Any) -> tuple[Any, dict[str, Any]]:
    """The folder of images and its datasets; also sets the seed and the precision."""
    from segopt_callbacks.compat import keras
    from train_unet.data import datasets
    from train_unet.reading import Reading, Scaling

    keras.utils.set_random_seed(values.seed)  # the order of the images depends on it too
    keras.mixed_precision.set_global_policy("mixed_float16" if values.mixed_precision else "float32")
    scaling = Scaling(tuple(map(float, values.scale)), tuple(map(float, values.offset)))
    bands = tuple(map(int, values.bands))
    folder = _opener(values)(
        size_multiple=2 ** (values.levels - 1),
        tile=values.tile,
        ignore_class=values.ignore_class,
        reading=Reading(len(bands) or 3, bands, scaling),
    )
    return folder, datasets(folder, batch_size=values.batch_size, seed=values.seed)


def _opener(values: Any) -> Callable[..., Any]:
    """What opens the data: a folder, or a data set of TFDS by its name."""
    if values.data_dir.startswith(TFDS):
        from train_unet.tfds_folder import open_tfds

        name = values.data_dir.removeprefix(TFDS)
        return functools.partial(open_tfds, name, keys=values.tfds_keys, splits=values.tfds_splits)
    from train_unet.folder import open_folder

    return functools.partial(open_folder, values.data_dir)


def export_formats(values: Any) -> Sequence[Any]:
    """What is exported: by the flag, or with `--goal` what that is for, beside the float file to compare with."""
    if not values.goal or values["export_formats"].present:
        return values.export_formats
    from segopt_callbacks.recipes import goal_formats

    return ("float32", *goal_formats(values.goal))


def make_export(values: Any, formats: Sequence[Any], folder: Any, test: Any, export_dir: Path) -> Any:
    """The callback that exports; refuses formats whose packages are not installed."""
    from train_unet.data import shuffled
    from train_unet.training import export_callback

    # Files are in the order of longitude and latitude; a few hundred of them have to show every kind of land.
    train = shuffled(folder, "train", seed=values.seed).batch(values.batch_size)
    try:
        return export_callback(
            export_dir,
            formats,
            train,
            test,
            folder.classes,
            palette=folder.palette,
            reading=folder.reading,
            latency=values.latency,
            float_fallback=values.float_fallback,
            allow_float=values.allow_float,
            sparse="auto" if values.sparse else False,
            accelerator=values.accelerator,
            remove_channels=values.remove_channels,
        )
    except ValueError as error:
        raise flags.FlagError(f"--export_formats: {error}") from error


def make_sensitivity(values: Any, val: Any, log_dir: Path) -> Any:
    """The callback that measures which weights to spare."""
    from segopt_callbacks import SensitivityCallback

    settings = {"sparsity": values.target_sparsity, "number_of_clusters": values.number_of_clusters}
    return SensitivityCallback(val, monitor="mIoU", log_dir=log_dir, **settings)


def make_model(values: Any, folder: Any, *, steps: int) -> Any:
    """The built and compiled model, with weights by the seed."""
    from segopt_callbacks.compat import keras

    keras.utils.set_random_seed(values.seed)  # the baseline starts from the same weights
    return build_model(values, folder, steps=steps)


def build_model(values: Any, folder: Any, *, steps: int, width: float = 1.0) -> Any:
    """The built and compiled model; `width` is a factor of its filters."""
    from segopt_callbacks.model import select_weights
    from train_unet.class_weights import class_weights
    from train_unet.training import compile_model
    from train_unet.unet import UNet

    filters = max(round(values.base_filters * width), 1)
    model = UNet(len(folder.classes), filters, levels=values.levels, growth=values.growth, upsampling=values.upsampling)
    model.build((None, *folder.image_size, folder.reading.count))
    try:
        select_weights(model, list(values.filters) or None)
    except ValueError as error:
        raise flags.FlagError(f"--filters: {error}") from error
    try:
        weights = class_weights(values.class_weights, folder.counts)
    except ValueError as error:
        raise flags.FlagError(f"--class_weights {error}") from error
    compile_model(
        model,
        folder.classes,
        steps=steps,
        learning_rate=values.learning_rate,
        weight_decay=values.weight_decay,
        loss=values.loss,
        class_weights=weights,
        jit_compile=values.jit_compile,
    )
    return model


def make_compression(values: Any, *, steps: int) -> list[Any]:
    """The callbacks that prune, cluster and train against rounding."""
    from segopt_callbacks import recipe
    from train_unet.training import compression_callbacks

    if values.goal:
        overridden = {"sparsity": values.target_sparsity} if values["target_sparsity"].present else {}
        return recipe(values.goal, **overridden)
    return compression_callbacks(
        steps=steps,
        prune=values.prune,
        target_sparsity=values.target_sparsity,
        begin=values.prune_begin,
        end=values.prune_end,
        frequency=values.prune_frequency,
        distribution=values.distribution,
        pattern=values.pattern,
        cluster=values.cluster,
        number_of_clusters=values.number_of_clusters,
        cluster_begin=values.cluster_begin,
        cluster_per_channel=values.cluster_per_channel,
        filters=values.filters,
        quantize=values.quantize,
        quantize_begin=values.quantize_begin,
        num_bits=int(values.num_bits),
        learn_ranges=values.learn_ranges,
    )
