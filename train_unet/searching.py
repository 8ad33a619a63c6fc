"""The search for the U-Net that meets a demand, and what its files are on images that no search has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from flags import FlagError
from segopt_callbacks import search_compression
from segopt_callbacks.processes import quiet
from segopt_callbacks.search import SearchResult, StudyError
from train_unet.fitting import CheckAfterBatch
from train_unet.losses import mean_iou


def search_unet(
    build_model: Callable[..., Any],
    data: dict[str, tf.data.Dataset],
    classes: Sequence[str],
    check: Callable[[], None],
    **options: Any,
) -> bool:
    """Searches by the mIoU on the validation split, and prints the answer, with its mIoU on the test split.

    Args:
        build_model: makes a compiled model of a `width`.
        data: what `train_unet.data.datasets` returns.
        classes: names by id; `len(classes)` itself is the id of unlabelled pixels.
        check: called behind each batch.
        options: other arguments of `search_compression`.

    Returns:
        whether a model was found.

    Raises:
        FlagError: without Optuna, or for a study that cannot be opened or is about something else.
    """
    try:
        result = search_compression(
            build_model,
            {"train": data["train"], "val": data["val"]},
            metrics={"mIoU": mean_iou(len(classes), ignore_class=len(classes))},
            callbacks=[CheckAfterBatch(check)],
            **options,
        )
    except (ImportError, StudyError) as error:
        raise FlagError(f"--search: {error}") from error
    if result.path is not None:
        print(told_on_test(result, data["test"], len(classes)))
    return result.found


def told_on_test(result: SearchResult, test: tf.data.Dataset, classes: int) -> str:
    """The mIoU of the answer's files on the test split, which no choice was made by."""
    paths = [path for path in (result.path, result.second_path) if path is not None]
    figures = " and ".join(f"{file_miou(path, test, classes):.4f}" for path in paths)
    return f"Test mIoU of {paths[0].name}: {figures}{' on the two seeds' * (len(paths) == 2)}."


def file_miou(path: Path, test: tf.data.Dataset, classes: int) -> float:
    """The mIoU of a `.tflite` file, run on one image at a time.

    Args:
        path: its input is `(1, height, width, 3)` uint8, its output `(1, height, width, classes)`.
        test: batches of images and masks.
        classes: how many; the id of unlabelled pixels is the next one.
    """
    with quiet():  # LiteRT tells of its delegate
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
    given, taken = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    metric = mean_iou(classes, ignore_class=classes)
    for image, mask in test.unbatch().as_numpy_iterator():
        interpreter.set_tensor(given, image[None])
        interpreter.invoke()
        # Integers of one scale are in the order of the logits that they stand for.
        metric.update_state(mask[None], interpreter.get_tensor(taken).astype(np.float32))
    return float(metric.result())
