"""A model and plain arguments -> a compiled model, and the callbacks of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ClusterScheduleCallback,
    CompressionSummaries,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    QuantizationAwareTrainingCallback,
    block,
    channel,
    n_of_m,
)
from segopt_callbacks.compat import keras
from segopt_callbacks.export import Format
from train_unet.full_disk import until_full
from train_unet.losses import SegmentationLoss, class_ious, mean_iou
from train_unet.reading import PLAIN, Reading, told


def compile_model(
    model: Any,
    classes: Sequence[str],
    *,
    steps: int,
    learning_rate: float = 3e-3,
    hold: float = 0.0,
    weight_decay: float = 1e-4,
    loss: str = "cross_entropy",
    class_weights: Sequence[float] | None = None,
    jit_compile: bool = False,
) -> None:
    """Compiles a model with AdamW, whose learning rate falls to 0 along a cosine, and with mIoU.

    Args:
        model: its logits are `(batch, height, width, len(classes))`.
        classes: names by id; `len(classes)` itself is the id of unlabelled pixels.
        steps: of the whole training.
        learning_rate: the highest.
        hold: fraction of the training, in [0, 1), before it begins to fall.
        weight_decay: fraction of each kernel taken away in a step, times the learning rate.
        loss: a name of `train_unet.losses.LOSSES`.
        class_weights: of the classes in the loss, by id; `None` for 1.
        jit_compile: compile the step with XLA.
    """
    optimizer = keras.optimizers.AdamW(falling(learning_rate, steps, hold), weight_decay=weight_decay)
    # Decay would pull offsets and scales of the normalisation towards 0, which does not regularise.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer=optimizer,
        loss=SegmentationLoss(loss, ignore_class=len(classes), class_weights=class_weights),
        metrics=[mean_iou(len(classes), ignore_class=len(classes))],
        jit_compile=jit_compile,
    )


def falling(highest: float, steps: int, hold: float = 0.0) -> Any:
    """A learning rate that is held for a fraction of the training, in [0, 1), and falls to 0 along a cosine."""
    held = round(hold * steps)
    return keras.optimizers.schedules.CosineDecay(
        highest, steps - held, warmup_target=highest if held else None, warmup_steps=held
    )


def compression_callbacks(
    *,
    steps: int,
    prune: bool = False,
    target_sparsity: float = 0.8,
    begin: float = 0.1,
    end: float = 0.6,
    frequency: int = 20,
    distribution: str = "erk",
    pattern: str = "none",
    cluster: bool = False,
    number_of_clusters: int = 16,
    cluster_begin: float = 0.8,
    cluster_per_channel: bool = False,
    filters: Sequence[str] = (),
    quantize: bool = False,
    quantize_begin: float = 0.5,
    num_bits: int = 8,
    learn_ranges: bool = False,
) -> list[Any]:
    """The callbacks that prune, cluster and train against rounding.

    Args:
        steps: of the whole training.
        prune: whether to prune.
        target_sparsity: fraction of zeros, in (0, 1).
        begin: when pruning begins, as a fraction of the training in [0, 1].
        end: when the target is reached, as a fraction of the training in [0, 1].
        frequency: steps from one raise to the next.
        distribution: `"erk"`, `"uniform"`, `"global"` or `"latency"`.
        pattern: `"none"`, `"pairs"` (2 input channels), `"block"` (1 by 4), `"n_of_m"` (2 of 4) or `"channel"`.
        cluster: whether to cluster.
        number_of_clusters: distinct values in each weight.
        cluster_begin: when weights begin to share values, as a fraction of the training in [0, 1]; 1 is its end.
        cluster_per_channel: whether each output channel has values of its own.
        filters: regular expressions on the weights' paths; empty for every kernel.
        quantize: whether to train against the rounding of the int8 file.
        quantize_begin: when rounding begins, as a fraction of the training in [0, 1].
        num_bits: of kernels, 8 or 4.
        learn_ranges: whether ranges of tensors are trained by gradients.
    """
    chosen: list[Any] = []
    if prune:
        from segopt_callbacks import PolynomialDecay  # brings tfmot, and SciPy

        schedule = PolynomialDecay(0.0, target_sparsity, *prune_steps(begin, end, steps), frequency=frequency)
        patterns = {
            "none": None,
            "pairs": block(2, 1),
            "block": block(1, 4),
            "n_of_m": n_of_m(2, 4),
            "channel": channel(),
        }
        is_scope = distribution in ("global", "latency")
        spread = {"scope" if is_scope else "distribution": distribution}
        chosen.append(
            PruningScheduleCallback(schedule, list(filters) or None, pattern=patterns[pattern], **spread)  # type: ignore[arg-type]
        )
    if cluster:
        sharing = {"filters": list(filters) or None, "per_channel": cluster_per_channel}
        if cluster_begin < 1:
            begin_step = round(cluster_begin * steps)
            chosen.append(ClusterScheduleCallback(number_of_clusters, begin_step=begin_step, **sharing))  # type: ignore[arg-type]
        else:
            chosen.append(ClusterOnTrainEndCallback(number_of_clusters, **sharing))  # type: ignore[arg-type]
    if quantize:
        begin_step = round(quantize_begin * steps)
        chosen.append(
            QuantizationAwareTrainingCallback(begin_step=begin_step, num_bits=num_bits, learn_ranges=learn_ranges)
        )
    return chosen


def prune_steps(begin: float, end: float, steps: int) -> tuple[int, int]:
    """First and last step of pruning, from fractions of the training in [0, 1].

    >>> prune_steps(0.1, 0.6, 1000)
    (100, 600)
    >>> prune_steps(0.1, 0.2, 1)  # at least one step apart, and no later than the last
    (0, 1)
    """
    last = min(max(round(end * steps), 1), steps)
    return min(round(begin * steps), last - 1), last


def log_callbacks(log_dir: Path, examples: tf.data.Dataset, palette: np.ndarray, *, compressed: bool) -> list[Any]:
    """What writes to TensorBoard: scalars, pictures of predictions, and the state of compression.

    Args:
        log_dir: of TensorBoard.
        examples: batches of images and masks; the first four are drawn.
        palette: `(colours, 3)` uint8.
        compressed: whether there is a compression to tell of.
    """
    from train_unet.images import PredictionImages

    images, masks = next(examples.unbatch().batch(4).as_numpy_iterator())
    chosen = [
        keras.callbacks.TensorBoard(str(log_dir), write_graph=False),
        PredictionImages(log_dir, (images, masks), palette=palette),
    ]
    chosen += [CompressionSummaries(str(log_dir))] * compressed
    return [until_full(one) for one in chosen]


def export_callback(
    export_dir: Path,
    formats: Sequence[Format],
    train: tf.data.Dataset,
    test: tf.data.Dataset,
    classes: Sequence[str],
    *,
    palette: np.ndarray,
    reading: Reading = PLAIN,
    **options: Any,
) -> Any:
    """What exports, verifies and reports after the fit.

    Args:
        export_dir: folder of the files.
        formats: names of formats.
        train: batches of training images and masks; integer formats take their ranges from the images.
        test: batches on which every file's answers are measured.
        classes: names by id; `len(classes)` itself is the id of unlabelled pixels.
        palette: `(len(classes) + 1, 3)` uint8, the last colour that of unlabelled pixels.
        reading: which bands images have, and how they become bytes; `segopt-predict` does it by what files tell.
        options: other arguments of `ExportQuantizedCallback`.
    """
    unlabelled = len(classes)
    ious = {metric.name: metric for metric in class_ious(classes, ignore_class=unlabelled)}
    return ExportQuantizedCallback(
        str(export_dir),
        formats=tuple(formats),
        representative_dataset=train.map(lambda images, masks: images),
        evaluation_data=test,
        metrics={"mIoU": mean_iou(len(classes), ignore_class=unlabelled), **ious},
        metadata={
            "classes": list(classes),
            "palette": palette[:unlabelled],
            "input_scaling": "none: RGB, 0 to 255; the model scales",
            **told(reading),
        },
        **options,
    )
