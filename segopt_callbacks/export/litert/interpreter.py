"""LiteRT files, opened and run by its interpreter; imports no TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Runner
from segopt_callbacks.processes import cpus


def load(path: Path, source: Source, threads: int | None) -> Runner:
    """Opens the file in the LiteRT interpreter with its default delegate.

    Args:
        path: the file.
        source: what it was made from, for the order of inputs and outputs.
        threads: of the interpreter, which would take one if it were not told; default: one for each CPU.

    Returns:
        function from a batch of inputs to a batch of outputs. Quantized inputs and outputs are converted by their
        scale and zero point; integer inputs of the model itself are handed over raw.

    Raises:
        FormatError: if the interpreter cannot load the file.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads or len(cpus.available()))
        # An open size is 1 until something is fed, which may be too small for the model; the runner allocates then.
        if all((detail["shape_signature"] >= 0).all() for detail in interpreter.get_input_details()):
            interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise FormatError(f"the LiteRT interpreter cannot load the file: {first_line(error)}") from error
    inputs, outputs = runner.get_input_details(), runner.get_output_details()

    def run(batch: list[np.ndarray]) -> list[np.ndarray]:
        answers = []
        for index in range(len(batch[0])):
            one = {
                name: quantized(value[index : index + 1], inputs[name]["dtype"], *inputs[name]["quantization"])
                for name, value in zip(source.input_names, batch, strict=True)
            }
            answer = runner(**one)  # as a user calls it: a file that keeps state between calls must not pass
            answers.append([dequantized(answer[name], *outputs[name]["quantization"]) for name in source.output_names])
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    return run


def quantized(value: np.ndarray, dtype: Any, scale: float, zero_point: int) -> np.ndarray:
    """What a file is fed for a value of the model's input.

    Args:
        value: floats, or raw integers.
        dtype: of the file's input.
        scale: of the file's input; 0 for none.
        zero_point: likewise.

    Returns:
        floats as integers of that scale; raw integers as they are, but bytes less 128 where the file takes int8.

    Example:
        >>> quantized(np.array([0.5]), np.int8, 0.25, -1), quantized(np.array([255], np.uint8), np.int8, 0.1, 3)
        (array([1], dtype=int8), array([127], dtype=int8))
    """
    if value.dtype == np.uint8 and dtype == np.int8:
        return (value.astype(np.int16) - 128).astype(np.int8)
    if not np.issubdtype(dtype, np.integer) or np.issubdtype(value.dtype, np.integer) or not scale:
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(value / scale) + zero_point, limits.min, limits.max).astype(dtype)


def dequantized(value: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """What an output of a file means: integers that have a scale (not 0) as floats, others as they are."""
    if not np.issubdtype(value.dtype, np.integer) or not scale:
        return value
    return (value.astype(np.float32) - zero_point) * np.float32(scale)
