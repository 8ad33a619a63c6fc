"""TensorFlow SavedModel of the frozen function: weights once, no Keras, no optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.export.audit import weight_row
from segopt_callbacks.export.source import ANY_BATCH, Source
from segopt_callbacks.export.target import FLOAT_TOLERANCE, Runner, Target

PREFIX, SUFFIX = "weights/", "/.ATTRIBUTES/VARIABLE_VALUE"


def write(source: Source, path: Path) -> None:
    """Takes the folder that the model's own process has saved."""
    (source.folder / ANY_BATCH).rename(path)


def load(path: Path, source: Source, threads: int | None) -> Runner:
    """Loads the folder without Keras.

    Args:
        path: the folder.
        source: what it was made from, for the order of inputs and outputs.
        threads: of TensorFlow, in a process that has computed nothing yet.

    Returns:
        function from a batch of inputs to a batch of outputs.
    """
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        named = dict(zip(source.input_names, map(tf.constant, inputs), strict=True))
        outputs = signature(**named)
        return [outputs[name].numpy() for name in source.output_names]

    run.loaded = loaded  # type: ignore[attr-defined]  # a signature alone does not keep its variables alive
    return run


def read_weights(path: Path, weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Reads every variable of rank 2 or more from the folder's checkpoint.

    Args:
        path: the folder.
        weights: not used: the checkpoint has the model's own names.

    Returns:
        one row for each, see `audit.weight_row`; output channels are taken to be the last axis.
    """
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    rows = []
    for key, shape in sorted(reader.get_variable_to_shape_map().items()):
        if key.startswith(PREFIX) and len(shape) >= 2:
            name = _unescape(key.removeprefix(PREFIX).removesuffix(SUFFIX))
            rows.append(weight_row(name, reader.get_tensor(key), channel_axis=-1, weight=name))
    return rows


def _unescape(key: str) -> str:
    # The checkpoint writes "/" in an attribute's name as ".S" and "." as "..".
    return "/".join(part.replace("..", ".") for part in key.split(".S"))


TARGET = Target(
    "saved_model",
    write,
    load,
    read_weights,
    any_batch=True,
    open_sizes=True,
    uses_tensorflow=True,
    tolerance=FLOAT_TOLERANCE,
)
