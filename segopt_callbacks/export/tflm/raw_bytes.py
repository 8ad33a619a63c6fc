"""Raw bytes as int8 inputs of a full-integer `.tflite` file: byte - 128, and what scales them in scale and zero point.

tflite-micro and NPUs take int8. A model that is fed uint8 begins with operations that scale, such as `x / 255`. Where
they are one factor and one offset, the bytes themselves stand for the scaled values: less 128 they are integers whose
scale is the factor. Then nothing is left to compute. Other scaling stays in the file, and is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError, listed
from segopt_callbacks.export.litert import raw_inputs, schema

SHIFT = 128  # what a byte has more than its int8
_HALF_STEP = 0.55  # of a scale: no further from the value than rounding to that scale is
_NUMBERS = {"INT32": np.int32, "FLOAT32": np.float32}  # what bytes are cast to


@dataclass(frozen=True)
class Affine:
    """What a byte stands for: `factor * byte + offset`."""

    factor: float = 1.0
    offset: float = 0.0

    @property
    def zero_point(self) -> float:
        """Of `byte - 128` with the scale `factor`; a whole number where that is exact."""
        return -SHIFT - self.offset / self.factor

    def error(self, scale: float, zero_point: float) -> float:
        """How far the values of `byte - 128` are from these, with another scale and zero point; the largest.

        Example:
            >>> Affine(1 / 255).error(1 / 255, -128)
            0.0
        """
        ends = np.array([0.0, 255.0])
        theirs = scale * (ends - SHIFT - zero_point)
        return float(np.abs(self.factor * ends + self.offset - theirs).max())


def take_int8(content: bytes) -> tuple[bytes, dict[str, str]]:
    """Makes raw uint8 inputs int8: byte - 128.

    Args:
        content: a full-integer `.tflite` file.

    Returns:
        the file, the very same bytes where no input is uint8; and the name of each such input -> what became of its
        scaling.

    Raises:
        FormatError: if an operation reads raw bytes that has no int8 form.
    """
    model = schema.unpack(content)
    graph = model.subgraphs[0]
    names = {one.tensorIndex: schema.text(one.name) for one in model.signatureDefs[0].inputs}
    raw = {names[index]: index for index in graph.inputs if schema.type_name(graph.tensors[index]) == "UINT8"}
    told = {name: _take(model, graph, index) for name, index in raw.items()}
    used = {*graph.inputs, *graph.outputs, *(index for one in graph.operators for index in (*one.inputs, *one.outputs))}
    raw_inputs.drop_tensors(model, graph, set(range(len(graph.tensors))) - used if told else set())
    return (schema.pack(model), told) if told else (content, {})


def _take(model: Any, graph: Any, index: int) -> str:
    tensor, readers = graph.tensors[index], _readers(graph, index)
    names = [schema.operator_name(model, one) for one in readers]
    if others := sorted(set(names) - {"QUANTIZE", "CAST"}):
        raise FormatError(
            f"raw bytes are read by {listed(others)}, which has no int8 form of them; scale the bytes first, or feed "
            "the model float32"
        )
    tensor.type, tensor.quantization = schema.type_number("INT8"), schema.unit_quantization(-SHIFT)
    if names == ["QUANTIZE"]:
        return _fold(model, graph, index, readers[0])
    for cast in [one for one, name in zip(readers, names, strict=True) if name == "CAST"]:
        readers += _readers(graph, _shift(model, graph, cast))
    following = [schema.operator_name(model, one) for one in readers]
    return f"byte - 128; scaling is more than a factor and an offset, and stays in the file: {listed(following)}"


def _shift(model: Any, graph: Any, cast: Any) -> int:
    """Adds 128 behind a cast; returns the tensor of the sums."""
    before = cast.outputs[0]
    kind = schema.type_name(graph.tensors[before])
    if kind not in _NUMBERS:
        raise FormatError(f"raw bytes are cast to {kind.lower()}, which tflite-micro cannot; cast them to int32")
    readers = _readers(graph, before)
    graph.tensors.append(
        schema.computed_like(graph.tensors[before], f"{schema.tensor_name(graph.tensors[before])}/byte")
    )
    after = len(graph.tensors) - 1
    shift = schema.add_constant(model, graph, np.array([SHIFT], _NUMBERS[kind]), kind, f"shift/{after}")
    addition = schema.addition(model, [before, shift], [after])
    for one in readers:
        one.inputs = [after if index == before else index for index in one.inputs]
    graph.operators.insert(graph.operators.index(cast) + 1, addition)
    cast.builtinOptionsType, cast.builtinOptions = 0, None  # it names both types again, and need not
    return after


def _fold(model: Any, graph: Any, index: int, quantize: Any) -> str:
    """Lets the bytes stand for what is computed from them, as far as that is affine."""
    affine, steps, last = Affine(), [quantize], quantize.outputs[0]
    while (step := _step(model, graph, last, affine)) is not None:
        affine, operator = step
        steps.append(operator)
        last = operator.outputs[0]
    names = [schema.operator_name(model, one) for one in steps[1:]]
    zero_point = round(affine.zero_point)
    if not (affine.factor > 0 and -128 <= zero_point <= 127):
        return f"byte - 128; no zero point of int8 can hold the offset, so these stay in the file: {listed(names)}"
    wanted, given = graph.tensors[last].quantization, graph.tensors[index].quantization
    scale = float(wanted.scale[0])
    removed = steps[1:]
    if affine.error(scale, int(wanted.zeroPoint[0])) <= _HALF_STEP * scale and last not in graph.outputs:
        graph.tensors[index].quantization = wanted
        for reader in _readers(graph, last):
            reader.inputs = [index if one == last else one for one in reader.inputs]
        removed = steps
    else:
        given.scale, given.zeroPoint = [affine.factor], [zero_point]
        quantize.outputs = [last]
    graph.operators = [one for one in graph.operators if not any(one is other for other in removed)]
    rest = _rest(model, graph, {last, index})
    return f"byte - 128, which stands for {affine.factor:.6g} * byte {affine.offset:+.6g}{rest}"


def _rest(model: Any, graph: Any, tensors: set[int]) -> str:
    """What scales further by a factor for each channel, for the report."""
    readers = [one for tensor in tensors for one in _readers(graph, tensor)]
    names = {schema.operator_name(model, one) for one in readers} & {"MUL", "ADD", "SUB", "DIV"}
    return (
        f"; what is no factor and offset for all channels stays in the file: {listed(sorted(names))}" if names else ""
    )


def _step(model: Any, graph: Any, tensor: int, affine: Affine) -> tuple[Affine, Any] | None:
    """The one operation that reads a tensor, if it is affine, and what a byte stands for behind it."""
    readers = _readers(graph, tensor)
    if len(readers) != 1 or tensor in graph.outputs:
        return None
    (operator,), name = readers, schema.operator_name(model, readers[0])
    if schema.type_name(graph.tensors[operator.outputs[0]]) != "INT8":
        return None
    if name == "QUANTIZE":
        return affine, operator
    if name not in ("MUL", "ADD", "SUB", "DIV") or operator.builtinOptions.fusedActivationFunction:
        return None
    others = [one for one in operator.inputs if one != tensor]
    number = _scalar(model, graph.tensors[others[0]]) if others else None
    if number is None or (name in ("SUB", "DIV") and operator.inputs[0] != tensor):
        return None
    factor, offset = affine.factor, affine.offset
    if name in ("MUL", "DIV"):
        by = number if name == "MUL" else 1 / number
        return Affine(factor * by, offset * by), operator
    return Affine(factor, offset + (number if name == "ADD" else -number)), operator


def _scalar(model: Any, tensor: Any) -> float | None:
    """The number that a quantized constant is; `None` of anything else."""
    values, quantization = schema.values(model, tensor), tensor.quantization
    if values is None or quantization is None or quantization.scale is None or np.unique(values).size != 1:
        return None
    number = (float(values.ravel()[0]) - float(quantization.zeroPoint[0])) * float(quantization.scale[0])
    return number or None  # by 0 nothing is divided, and nothing comes back


def _readers(graph: Any, tensor: int) -> list[Any]:
    return [operator for operator in graph.operators if tensor in operator.inputs]
