"""What a `.tflite` holds and answers, read by LiteRT's own interpreter and by nothing of this project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Operation -> which of its inputs is a kernel. Every one has it constant, or computes it.
KERNELS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "BATCH_MATMUL": 1}
UNPACKING = ("DENSIFY", "DEQUANTIZE")  # how a constant is stored
AT_THE_EDGE = ("QUANTIZE", "DEQUANTIZE")  # of what is integer and what is float


def read(path: Path, inputs: Mapping[str, np.ndarray], answers: np.ndarray) -> dict[str, Any]:
    """The figures of one file.

    Args:
        path: a `.tflite`.
        inputs: name -> examples, batch first; of a single input the name does not matter.
        answers: of the model, batch first, classes last.

    Returns:
        `bytes`; `zeros`, a fraction of the values of all kernels; `distinct`, the most distinct values in a kernel;
        `float_operations`, their number by kind; `relative_difference`, a fraction of the largest answer;
        `equal_argmax`, a fraction of all places.
    """
    kernels, floats = opened(path)
    theirs = run(path, inputs)
    return {
        "bytes": path.stat().st_size,
        "zeros": sum(np.count_nonzero(one == 0) for one in kernels) / sum(one.size for one in kernels),
        "distinct": max(len(np.unique(one)) for one in kernels),
        "float_operations": dict(floats),
        "relative_difference": float(np.abs(theirs - answers).max() / np.abs(answers).max()),
        "equal_argmax": float((theirs.argmax(-1) == answers.argmax(-1)).mean()),
    }


def opened(path: Path) -> tuple[list[np.ndarray], Counter[str]]:
    """The values of constant kernels, and the operations that compute in float."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=plain, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()  # which unpacks sparse kernels
    operations = interpreter._get_ops_details()
    made = {index for one in operations if one["op_name"] not in UNPACKING for index in one["outputs"]}
    made |= {detail["index"] for detail in interpreter.get_input_details()}
    origin = {one["outputs"][0]: one["inputs"][0] for one in operations if one["op_name"] in UNPACKING}
    found = {one["inputs"][KERNELS[one["op_name"]]] for one in operations if one["op_name"] in KERNELS}
    kernels = [interpreter.get_tensor(index) for index in sorted(found) if first(index, origin) not in made]
    is_float = {one["index"]: one["dtype"] == np.float32 for one in interpreter.get_tensor_details()}
    floats = Counter(
        one["op_name"]
        for one in operations
        if one["op_name"] not in (*AT_THE_EDGE, *UNPACKING)
        and any(is_float.get(index, False) for index in (*one["inputs"], *one["outputs"]))
    )
    return kernels, floats


def first(index: int, origin: Mapping[int, int]) -> int:
    """The tensor that `index` was unpacked from."""
    while index in origin:
        index = origin[index]
    return index


def run(path: Path, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The answers of a file with one output to each example, in float."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner()
    takes = runner.get_input_details()
    (gives,) = runner.get_output_details().values()
    named = inputs if len(takes) > 1 else dict(zip(takes, inputs.values(), strict=True))
    answers = []
    for index in range(len(next(iter(inputs.values())))):
        given = {name: as_stored(value[index : index + 1], takes[name]) for name, value in named.items()}
        answers.extend(as_float(one, gives) for one in runner(**given).values())
    return np.concatenate(answers)


def as_stored(value: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """Floats rounded to a file's integers; anything else as it is."""
    scale, zero_point = detail["quantization"]
    if not scale or value.dtype.kind != "f":
        return value.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(value / scale) + zero_point, limits.min, limits.max).astype(detail["dtype"])


def as_float(value: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """A file's integers as the floats that they stand for."""
    scale, zero_point = detail["quantization"]
    return (value.astype(np.float32) - zero_point) * scale if scale else value
