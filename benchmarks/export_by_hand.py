"""What people write to export a Keras model without this library, and how such files are opened.

Functions to open them are called in other processes, so they are here and not in the script.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.export import saved_model
from segopt_callbacks.export.litert import converter as litert
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Target
from segopt_callbacks.processes.process import Process
from segopt_callbacks.records.ports import Port

SAVED_MODEL, FLOAT32, INT8 = "saved_model, by hand", "float32, by hand", "int8, by hand"
OPENVINO, OPENVINO_FLOAT = "OpenVINO int8, by hand", "OpenVINO, by hand"
WRITTEN_BY_HAND = {
    SAVED_MODEL: "saved_model",
    FLOAT32: "float32.tflite",
    INT8: "int8.tflite",
    OPENVINO_FLOAT: "openvino/model.xml",
    OPENVINO: "openvino_int8/model.xml",
}

OPTIMIZED: dict[str, tuple[str, ...]] = {"float16": ("float16",), "dynamic_int8": ()}  # dtypes of stored weights


def write_all(model: Any, examples: np.ndarray, folder: Path) -> dict[str, float]:
    """Exports a Keras 3 model in every usual way.

    Args:
        model: built.
        examples: `(count, height, width, channels)`, what shows the ranges of activations.
        folder: for the files.

    Returns:
        seconds of each; LiteRT and OpenVINO start from the SavedModel, whose seconds are not among theirs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = [1, *examples.shape[1:]]
    seconds = {}
    for name, write in {
        SAVED_MODEL: lambda path: write_saved_model(model, path, (None, *shape[1:])),
        FLOAT32: lambda path: write_litert(folder / "saved_model", path),
        INT8: lambda path: write_litert(folder / "saved_model", path, examples),
        OPENVINO_FLOAT: lambda path: write_openvino(folder / "saved_model", path, shape),
        OPENVINO: lambda path: write_openvino(folder / "saved_model", path, shape, examples),
    }.items():
        start = time.perf_counter()
        write(folder / WRITTEN_BY_HAND[name])
        seconds[name] = time.perf_counter() - start
    return seconds


def write_saved_model(model: Any, path: Path, shape: tuple[int | None, ...]) -> None:
    """With a signature of raw images; by itself a subclassed model is saved for float32."""
    import tensorflow as tf

    model.export(path, verbose=False, input_signature=[tf.TensorSpec(shape, tf.uint8)])


def write_litert(
    folder: Path, path: Path, examples: np.ndarray | None = None, types: tuple[str, ...] | None = None
) -> None:
    """With examples in int8, by https://ai.google.dev/edge/litert/conversion/tensorflow/quantization ; else in float.

    Weights are stored in the `types` of `OPTIMIZED`; default: float32.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    if types is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.as_dtype(name) for name in types]
    if examples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([one] for one in _one_by_one(examples))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8
    path.write_bytes(converter.convert())


def write_openvino(folder: Path, path: Path, shape: list[int], examples: np.ndarray | None = None) -> None:
    """With examples in int8, through NNCF with its defaults; else float."""
    openvino = _without_telemetry()
    import nncf

    nncf.set_log_level(logging.ERROR)
    model = openvino.convert_model(str(folder), input=shape)
    if examples is not None:
        dataset = nncf.Dataset(list(_one_by_one(examples)))
        model = nncf.quantize(model, dataset, subset_size=len(examples))
    path.parent.mkdir(exist_ok=True)
    openvino.save_model(model, str(path))


def _one_by_one(examples: np.ndarray) -> Iterator[np.ndarray]:
    return (examples[index : index + 1] for index in range(len(examples)))


def _without_telemetry() -> Any:
    """The `openvino` package; it and NNCF would tell Google Analytics of every import and conversion."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


# --- opening ---------------------------------------------------------------------------------------------------------


def load_openvino(settings: dict[str, Any], path: Path, source: Source, threads: int | None) -> Any:
    """Opens a model with OpenVINO's defaults, and settings beside them."""
    openvino = _without_telemetry()
    settings = settings | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()

    def run(batch: list[np.ndarray]) -> list[np.ndarray]:
        answers = [list(request.infer([one]).values()) for one in _one_by_one(batch[0])]
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    return run


def litert_ports(path: Path) -> tuple[list[str], list[str]]:
    """Names of the inputs and outputs of a `.tflite` file."""
    from ai_edge_litert.interpreter import Interpreter

    (signature,) = Interpreter(str(path)).get_signature_list().values()
    return signature["inputs"], signature["outputs"]


def saved_model_ports(path: Path) -> tuple[list[str], list[str]]:
    """Names of the inputs and outputs of a SavedModel."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return list(signature.structured_input_signature[1]), list(signature.structured_outputs)


def target_of(path: Path) -> tuple[Target, Source]:
    """How a file is opened, by its name: in the same way as this library's own where there is one."""
    names: tuple[list[str], list[str]] = [], []
    if path.suffix == ".xml":
        load: Any = functools.partial(load_openvino, {})
    elif path.suffix == ".tflite":
        load, ports = litert.load, litert_ports
    else:
        load, ports = saved_model.load, saved_model_ports
    if path.suffix != ".xml":
        with Process() as process:
            names = process.call(ports, path, doing="reading names", time_limit=600)
    inputs, outputs = (tuple(Port(name, (), "") for name in part) for part in names)
    # A target's other functions are for writing and auditing.
    return Target(path.name, print, load, print), Source(path.parent, inputs, outputs)
