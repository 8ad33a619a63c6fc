"""Lets a full-integer `.tflite` file read masks, ids and comparisons as integers, without a cast to float."""

from __future__ import annotations

from typing import Any

from segopt_callbacks.export.litert import schema

_INTEGERS = ("BOOL", "INT32", "INT64")
_LIMITS = {"INT8": (-(2**7), 2**7 - 1), "INT16": (-(2**15), 2**15 - 1)}


def cast_to_integers(content: bytes) -> bytes:
    """Makes casts to float, which nothing but QUANTIZE reads, casts to int16 of scale 1, which it reads as well.

    Args:
        content: a `.tflite` file.

    Returns:
        the file with such casts; the very same bytes where there are none. A cast stays in float where the range that
        it is quantized to is wider than int16.
    """
    model = schema.unpack(content)
    found = [
        (graph, cast) for graph in model.subgraphs for cast in graph.operators if _is_replaceable(model, graph, cast)
    ]
    for graph, cast in found:
        numbers = graph.tensors[cast.outputs[0]]
        numbers.type = schema.type_number("INT16")
        numbers.quantization = schema.unit_quantization()
        cast.builtinOptionsType, cast.builtinOptions = 0, None  # it names both types again, and need not
    return schema.pack(model) if found else content


def _is_replaceable(model: Any, graph: Any, cast: Any) -> bool:
    if schema.operator_name(model, cast) != "CAST":
        return False
    before, after = graph.tensors[cast.inputs[0]], graph.tensors[cast.outputs[0]]
    if schema.type_name(before) not in _INTEGERS or schema.type_name(after) != "FLOAT32":
        return False
    readers = [one for one in graph.operators if cast.outputs[0] in one.inputs]
    if cast.outputs[0] in graph.outputs or not readers:
        return False
    return all(
        schema.operator_name(model, one) == "QUANTIZE" and _fits(graph.tensors[one.outputs[0]]) for one in readers
    )


def _fits(quantized: Any) -> bool:
    """Whether int16 holds all numbers that a tensor can."""
    if schema.type_name(quantized) not in _LIMITS:
        return False
    (scale,), (zero,) = quantized.quantization.scale, quantized.quantization.zeroPoint
    ends = [scale * (int(end) - int(zero)) for end in _LIMITS[schema.type_name(quantized)]]
    return _LIMITS["INT16"][0] <= min(ends) and max(ends) <= _LIMITS["INT16"][1]
