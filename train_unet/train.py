"""Trains a subclassed U-Net; prunes, clusters, exports and verifies it.

    python train.py --prune --cluster

`--help` lists the flags. Only this file reads their values.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the checkout: what is installed is the library alone

import flags
from segopt_callbacks.commands import ends_with_its_reader
from train_unet.process import ExitOnInterrupt, without_start_up_noise

FAILED, USAGE_ERROR = 1, 2  # exit codes


@ends_with_its_reader
def main(argv: list[str] | None = None) -> int:
    """Runs one training.

    Args:
        argv: program and flags; default: those of the process.

    Returns:
        exit code: 0, or 1 if a file could not be exported or a search found no model, 2 if the data or a flag is wrong.

    Raises:
        SystemExit: 0 after `--help`, 2 for a wrong flag. Ctrl-C ends the process with exit code 130.
    """
    values = flags.parse(sys.argv if argv is None else argv)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a pipe shows progress too
    line = "Interrupted by Ctrl-C: no file is half-written; start again to train."
    with ExitOnInterrupt(line) as interrupt:
        with without_start_up_noise():
            import tensorflow as tf

            tf.config.list_logical_devices()  # says here what it has to say about missing GPUs
        from segopt_callbacks.export import ExportError
        from train_unet.folder import DataFolderError

        try:
            if values.search:
                return 0 if search(values, interrupt.check) else FAILED
            run(values, interrupt.check)
        except (DataFolderError, flags.FlagError) as error:
            print(error, file=sys.stderr)
            return USAGE_ERROR
        except ExportError as error:
            print(error, file=sys.stderr)
            return FAILED
    return 0


def run(values: Any, check: Callable[[], None]) -> None:
    """Trains, compresses, exports and reports as the flags say; calls `check` behind each batch."""
    from train_unet.evaluating import whole_images_miou
    from train_unet.fitting import SaveOnTrainEnd, evaluate, fit, make_output_dir
    from train_unet.training import log_callbacks

    folder, data = open_data(values)
    steps = len(data["train"]) * values.epochs
    output_dir = make_output_dir(values.output_dir)
    log_dir = Path(values.log_dir or output_dir / "logs" / time.strftime("%Y%m%d-%H%M%S"))
    counts = ", ".join(f"{len(pairs)} {split}" for split, pairs in folder.pairs.items())
    print(f"{folder.root}: {counts} images, {len(folder.classes)} classes. TensorBoard: {log_dir}")
    model = make_model(values, folder, steps=steps)
    compression = make_compression(values, steps=steps)
    callbacks = [
        *compression,
        *log_callbacks(log_dir, data["val"], folder.palette, compressed=bool(compression)),
        SaveOnTrainEnd(output_dir / "model.keras"),
    ]
    if values.sensitivity:
        callbacks.append(make_sensitivity(values, data["val"], log_dir))
    baselines = known_baselines(values, folder, data, check)
    formats = export_formats(values)
    if formats:
        callbacks.append(make_export(values, formats, folder, data["test"], output_dir / "export", baselines))
    fit(model, data, values.epochs, callbacks, check)
    if not formats:  # else it is in the table
        print(f"Test mIoU in memory: {evaluate(model, data['test']):.4f}")
    if folder.is_tiled:
        print(f"Test mIoU of whole images, tiles blended: {whole_images_miou(model, folder, 'test'):.4f}")


def open_data(values: Any) -> tuple[Any, dict[str, Any]]:
    """The folder of images and its datasets; also sets the seed and the precision."""
    from segopt_callbacks.compat import keras
    from train_unet.data import datasets
    from train_unet.folder import open_folder
    from train_unet.reading import Reading, Scaling

    keras.utils.set_random_seed(values.seed)  # the order of the images depends on it too
    keras.mixed_precision.set_global_policy("mixed_float16" if values.mixed_precision else "float32")
    scaling = Scaling(tuple(map(float, values.scale)), tuple(map(float, values.offset)))
    bands = tuple(map(int, values.bands))
    folder = open_folder(
        values.data_dir,
        size_multiple=2 ** (values.levels - 1),
        tile=values.tile,
        ignore_class=values.ignore_class,
        reading=Reading(len(bands) or 3, bands, scaling),
    )
    return folder, datasets(folder, batch_size=values.batch_size, seed=values.seed)


def search(values: Any, check: Callable[[], None]) -> bool:
    """Searches as the flags say, and prints the answer; returns whether a model was found."""
    from train_unet.fitting import make_output_dir
    from train_unet.searching import search_unet

    folder, data = open_data(values)
    output_dir = make_output_dir(values.output_dir) / "search"
    steps = len(data["train"]) * values.epochs
    print(f"{folder.root}: {values.trials} trainings of {values.epochs} epochs. Trials and their reports: {output_dir}")
    return search_unet(
        functools.partial(build_model, values, folder, steps=steps),
        data,
        folder.classes,
        check,
        epochs=values.epochs,
        output_dir=output_dir,
        seed=values.seed,
        trials=values.trials,
        storage=values.storage,
        **{name: getattr(values, name) for name in flags.BOUNDS},
    )


def export_formats(values: Any) -> Sequence[Any]:
    """What is exported: by the flag, or with `--goal` what that is for, beside the float file to compare with."""
    if not values.goal or values["export_formats"].present:
        return values.export_formats
    from segopt_callbacks.recipes import goal_formats

    return ("float32", *goal_formats(values.goal))


def make_export(
    values: Any, formats: Sequence[Any], folder: Any, test: Any, export_dir: Path, baselines: dict[str, Any]
) -> Any:
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
            baselines=baselines,
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
    model = UNet(len(folder.classes), filters, levels=values.levels, upsampling=values.upsampling)
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


def known_baselines(values: Any, folder: Any, data: dict[str, Any], check: Callable[[], None]) -> dict[str, Any]:
    """What the report compares files with: a dense model, trained now or before, and a lookup from colour to class."""
    from train_unet.baselines import dense_over_seeds
    from train_unet.color_lookup import score

    dense = {"dense float32": train_baseline(values, folder, data, check)} if values.baseline else {}
    known = dense or dense_over_seeds(values)
    return {name: {"mIoU": miou} for name, miou in {**known, "colour lookup": score(folder)}.items()}


def train_baseline(values: Any, folder: Any, data: dict[str, Any], check: Callable[[], None]) -> float:
    """The test mIoU of a plain float model, trained equally long from the same weights."""
    from train_unet.fitting import SaveOnTrainEnd, evaluate, fit

    print("Baseline: the same model and training without compression.")
    model = make_model(values, folder, steps=len(data["train"]) * values.epochs)
    fit(model, data, values.epochs, [SaveOnTrainEnd(Path(values.output_dir) / "baseline.keras")], check)
    miou = evaluate(model, data["test"])
    print(f"Test mIoU of the dense float32 baseline: {miou:.4f}")
    return miou


if __name__ == "__main__":
    sys.exit(main())
