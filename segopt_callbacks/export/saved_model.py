"""TensorFlow SavedModel of the frozen function: weights once, no Keras, no optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.export.audit import weight_row
from segopt_callbacks.export.errors import FormatError, first_line
from segopt_callbacks.export.signature import Frozen
from segopt_callbacks.export.target import FLOAT_TOLERANCE, Examples, Runner, Target

PREFIX, SUFFIX = "weights/", "/.ATTRIBUTES/VARIABLE_VALUE"


def write(frozen: Frozen, path: Path, examples: Examples) -> None:
    """Writes the folder. `examples` are not used: every weight stays float32.

    Raises:
        FormatError: if TensorFlow cannot save the graph.
    """
    try:
        tf.saved_model.save(frozen.module, str(path), signatures=frozen.serve)
    except compat.converter_errors() as error:
        raise FormatError(f"TensorFlow cannot save the model: {first_line(error)}") from error


def load(path: Path, frozen: Frozen) -> Runner:
    """Loads the folder without Keras.

    Args:
        path: the folder.
        frozen: the function that it was made from, for the order of inputs and outputs.

    Returns:
        function from a batch of inputs to a batch of outputs.
    """
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        named = dict(zip(frozen.input_names, map(tf.constant, inputs), strict=True))
        outputs = signature(**named)
        return [outputs[name].numpy() for name in frozen.output_names]

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


TARGET = Target("saved_model", write, load, read_weights, batch_size=None, tolerance=FLOAT_TOLERANCE)
