"""The models on which every LiteRT format is tried, their data, and the interpreter that tells what the files do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from segopt_callbacks.compat import keras
from segopt_callbacks.export.litert import schema
from tests.export_models import CLASSES, IMAGES, Segmenter, built, functional

FLOATS = (IMAGES / 255).astype("float32")
VECTORS = np.random.default_rng(2).normal(size=(len(IMAGES), 9)).astype("float32")


def several() -> Any:
    """Raw images and a vector in, logits and a score out, by name."""
    image, vector = keras.Input((16, 16, 3), dtype="uint8", name="image"), keras.Input((9,), name="vector")
    hidden = keras.layers.Conv2D(8, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    together = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(hidden), vector])
    logits, score = keras.layers.Conv2D(CLASSES, 1)(hidden), keras.layers.Dense(1)(together)
    return keras.Model({"image": image, "vector": vector}, {"logits": logits, "score": score})


def separable() -> Any:
    """Depthwise, separable and transposed convolutions, with normalisation behind them."""
    inputs = keras.Input((16, 16, 3))
    hidden = keras.layers.Conv2D(8, 3, strides=2, padding="same")(inputs)
    hidden = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", use_bias=False)(hidden)
    hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(hidden))
    hidden = keras.layers.SeparableConv2D(8, 3, padding="same", activation="relu")(hidden)
    hidden = keras.layers.Conv2DTranspose(5, 3, strides=2, padding="same")(hidden)
    return keras.Model(inputs, keras.layers.Conv2D(CLASSES, 1)(hidden))


def wide() -> Any:
    """Weights enough for headers to weigh little."""
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(64, 3, padding="same", activation="relu")(inputs)
    hidden = keras.layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(hidden)
    hidden = keras.layers.Conv2DTranspose(64, 2, strides=2)(hidden)
    return keras.Model(inputs, keras.layers.Conv2D(CLASSES, 1)(hidden))


# Name -> model, inputs as the model takes them, inputs by the names of the files.
CASES: dict[str, tuple[Any, Any, dict[str, np.ndarray]]] = {
    "subclassed": (lambda: built(Segmenter), IMAGES, {"input": IMAGES}),
    "functional": (lambda: built(functional, FLOATS), FLOATS, {"input": FLOATS}),
    "several": (several, {"image": IMAGES, "vector": VECTORS}, {"image": IMAGES, "vector": VECTORS}),
    "separable": (lambda: built(separable, FLOATS), FLOATS, {"input": FLOATS}),
}
LABELS = np.zeros(len(IMAGES))


def expected(model: Any, x: Any) -> dict[str, np.ndarray]:
    """The model's own answers, by the names of the files' outputs."""
    answers = model(x, training=False)
    answers = answers if isinstance(answers, dict) else {"output": answers}
    return {name: np.asarray(answer) for name, answer in answers.items()}


def opened(path: Path | bytes, **options: Any) -> Interpreter:
    content = path if isinstance(path, bytes) else path.read_bytes()
    interpreter = Interpreter(model_content=content, **options)
    interpreter.allocate_tensors()
    return interpreter


def run(path: Path | bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The file's answers in float, one example after the other."""
    runner = opened(path).get_signature_runner()
    given, taken = runner.get_input_details(), runner.get_output_details()
    answers = []
    for index in range(len(next(iter(inputs.values())))):
        example = {name: quantized(value[index : index + 1], given[name]) for name, value in inputs.items()}
        answers.append({name: dequantized(value, taken[name]) for name, value in runner(**example).items()})
    return {name: np.concatenate([one[name] for one in answers]) for name in answers[0]}


def quantized(value: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if value.dtype == np.uint8 or not scale:
        return value.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(value / scale) + zero_point, limits.min, limits.max).astype(detail["dtype"])


def dequantized(value: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    return (value.astype("float64") - zero_point) * scale if scale else value


def tensors_at_work(path: Path | bytes, inputs: dict[str, np.ndarray] | None = None) -> dict[int, np.ndarray]:
    """Index -> values of every tensor while the file runs (on zeros), by LiteRT's own kernels alone."""
    interpreter = opened(
        path,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    runner = interpreter.get_signature_runner()
    given = runner.get_input_details()
    if inputs is None:
        inputs = {name: np.zeros(one["shape"], one["dtype"]) for name, one in given.items()}
    runner(**{name: quantized(value[:1], given[name]) for name, value in inputs.items()})
    found = {}
    for detail in interpreter.get_tensor_details():
        try:
            found[detail["index"]] = interpreter.get_tensor(detail["index"])
        except ValueError:  # a temporary of some kernel
            continue
    return found


def constants(path: Path) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Name -> values and scales of every constant, by the interpreter; of a sparse one what DENSIFY makes of it."""
    model, at_work = schema.unpack(path.read_bytes()), tensors_at_work(path)
    graph, details = model.subgraphs[0], opened(path).get_tensor_details()
    dense = {one.inputs[0]: one.outputs[0] for one in graph.operators if schema.operator_name(model, one) == "DENSIFY"}
    return {
        schema.tensor_name(tensor): (at_work[dense.get(index, index)], details[index]["quantization_parameters"])
        for index, tensor in enumerate(graph.tensors)
        if schema.constant(model, tensor) is not None
    }
