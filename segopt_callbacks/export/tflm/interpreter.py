"""Files of tflite-micro, opened and run by its own interpreter, with the kernels that its library has for any CPU."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.litert import interpreter as litert
from segopt_callbacks.export.litert import schema
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Runner
from segopt_callbacks.processes import captured

REQUIRES = ("tflite_micro",)
_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
_SCRATCH = 4  # bytes of a sum of products; a transposed convolution keeps one for each element of its output
_SPARE = 1 << 20  # bytes, for what it notes of each operation
_BYTES = {"FLOAT32": 4, "INT32": 4, "UINT32": 4, "INT16": 2, "FLOAT16": 2, "INT64": 8, "FLOAT64": 8}


def load(path: Path, source: Source, threads: int | None) -> Runner:
    """Opens the file in tflite-micro's interpreter, and runs it once, to see what memory that takes.

    Args:
        path: the file.
        source: what it was made from, for the order of inputs and outputs.
        threads: not used: it has one.

    Returns:
        function from a batch of inputs to a batch of outputs; values are converted as those of a LiteRT file.

    Raises:
        FormatError: if tflite-micro refuses the file, in its own words.
    """
    from tflite_micro import runtime

    content, model = path.read_bytes(), schema.read(path)
    interpreter = _refusals_told(lambda: runtime.Interpreter.from_bytes(content, arena_size=_enough(model, content)))[0]
    inputs, outputs = _places(model)
    feeds = [(place, interpreter.get_input_details(place)) for place in map(inputs.__getitem__, source.input_names)]
    reads = [(place, interpreter.get_output_details(place)) for place in map(outputs.__getitem__, source.output_names)]

    def run(batch: list[np.ndarray]) -> list[np.ndarray]:
        answers = []
        for index in range(len(batch[0])):
            for (place, detail), value in zip(feeds, batch, strict=True):
                fed = litert.quantized(value[index : index + 1], detail["dtype"], *_parameters(detail))
                interpreter.set_input(fed, place)
            interpreter.invoke()
            answers.append(
                [
                    litert.dequantized(np.array(interpreter.get_output(place)), *_parameters(detail))
                    for place, detail in reads
                ]
            )
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    zeros = [np.zeros(detail["shape"], detail["dtype"]) for _, detail in feeds]
    _, told = _refusals_told(lambda: (run(zeros), interpreter.print_allocations()))
    _arena_path(path).write_text(json.dumps(_arena(told)), encoding="utf-8")
    return run


def read_arena(path: Path) -> dict[str, Any]:
    """`arena_bytes`: the memory that tflite-micro took for a file that `load` has opened."""
    return dict(json.loads(_arena_path(path).read_text(encoding="utf-8")))


def _refusals_told(body: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What comes out of it, and what tflite-micro prints."""
    lines: list[str] = []
    try:
        with captured() as lines:
            result = body()
    except (RuntimeError, ValueError) as error:
        raise FormatError(f"tflite-micro refuses the file: {'; '.join(lines[:2]) or error}") from error
    return result, lines


def _arena(told: list[str]) -> dict[str, Any]:
    found = [int(match[1]) for match in map(_TOTAL.search, told) if match]
    return {"arena_bytes": found[0]} if found else {"arena_bytes": "not told by this version of tflite-micro"}


def _enough(model: Any, content: bytes) -> int:
    """Bytes of an arena that is large enough for any plan: everything that is computed, side by side."""
    computed = [
        math.prod(map(int, tensor.shape if tensor.shape is not None else ())) * _BYTES.get(schema.type_name(tensor), 1)
        for tensor in model.subgraphs[0].tensors
        if schema.constant(model, tensor) is None
    ]
    return sum(computed) + _SCRATCH * max(computed) + 2 * len(content) + _SPARE


def _places(model: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Name -> number of each input and of each output: tflite-micro knows no names."""
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    ways = (signature.inputs, list(graph.inputs)), (signature.outputs, list(graph.outputs))
    inputs, outputs = ({schema.text(one.name): order.index(one.tensorIndex) for one in named} for named, order in ways)
    return inputs, outputs


def _parameters(detail: dict[str, Any]) -> tuple[float, int]:
    parameters = detail["quantization_parameters"]
    if not len(parameters["scales"]):
        return 0.0, 0
    return float(parameters["scales"][0]), int(parameters["zero_points"][0])


def _arena_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.arena.json")
