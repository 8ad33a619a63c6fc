"""How long layers of some shapes and widths take in LiteRT, on one thread of this machine; called in another process.

LiteRT's profiler is not in its Python package. So each layer is a file's function of its own, and is timed alone.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from segopt_callbacks.channels.layers import DEPTHWISE, TRANSPOSED, Shape

RUNS, SECONDS = 20, 0.05  # of one layer, at most; three runs at least


def milliseconds(shapes: Sequence[Shape]) -> list[float]:
    """The fastest of several runs of each layer, int8, batch 1; what slows a machine only ever adds.

    Args:
        shapes: with the channels that are timed.
    """
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    functions = {f"layer_{number}": layer_of(shape) for number, shape in enumerate(shapes)}
    module = tf.Module()
    module.functions = list(functions.values())
    with tempfile.TemporaryDirectory() as folder:
        traced = {name: one.get_concrete_function() for name, one in functions.items()}
        tf.saved_model.save(module, folder, signatures=traced)
        content = _in_int8(folder, {name: _noise(shape) for name, shape in zip(traced, shapes, strict=True)})
    interpreter = Interpreter(model_content=content, num_threads=1)
    found = []
    for name, shape in zip(functions, shapes, strict=True):
        runner = interpreter.get_signature_runner(name)
        found.append(1000 * _fastest(functools.partial(runner, x=_noise(shape).astype(np.int8))))
    return found


def _noise(shape: Shape) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, *shape.reads)).astype(np.float32)


def _in_int8(folder: str, inputs: dict[str, np.ndarray]) -> bytes:
    """The functions of a SavedModel, name -> an example of what they read, as one file."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(inputs))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ((name, {"x": value}) for name, value in inputs.items())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    content: bytes = converter.convert()
    return content


def _fastest(run: Callable[[], Any]) -> float:
    run()  # makes room
    seconds: list[float] = []
    while len(seconds) < 3 or (len(seconds) < RUNS and sum(seconds) < SECONDS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def layer_of(shape: Shape) -> Any:
    """The layer, with a kernel of noise."""
    import tensorflow as tf

    kernel = tf.constant(np.random.default_rng(1).normal(size=shape.kernel), tf.float32)
    strides, padding = [1, *shape.strides, 1], shape.padding

    def layer(x: Any) -> dict[str, Any]:
        if shape.kind == DEPTHWISE:
            answer = tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=shape.dilations)
        elif shape.kind == TRANSPOSED:
            answer = tf.nn.conv2d_transpose(x, kernel, (1, *shape.makes), strides, padding)
        else:
            answer = tf.nn.conv2d(x, kernel, strides, padding, dilations=shape.dilations)
        return {"y": answer}

    return tf.function(layer, input_signature=[tf.TensorSpec((1, *shape.reads), tf.float32)])
