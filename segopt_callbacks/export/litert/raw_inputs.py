"""Takes the float cast off the raw integer inputs of a full-integer `.tflite` file."""

from __future__ import annotations

from typing import Any

from segopt_callbacks.export.litert import schema


def take_raw_integers(content: bytes) -> bytes:
    """Lets the first quantization of a full-integer file read raw integer inputs.

    A model that is fed uint8 casts them to float, and the converter keeps that cast in float32. Raw integers *are*
    quantized, by scale 1 and zero point 0: QUANTIZE converts from that by itself. Where activations are int16 it
    converts from int8 only; there the cast becomes a QUANTIZE from uint8 to int8, which loses nothing.

    Args:
        content: a `.tflite` file.

    Returns:
        the file without such casts; the very same bytes where there are none.
    """
    model = schema.unpack(content)
    graph = model.subgraphs[0]
    casts = [cast for cast in graph.operators if _is_removable(model, graph, cast)]
    if not casts:
        return content
    removed = []
    for cast in casts:
        graph.tensors[cast.inputs[0]].quantization = schema.unit_quantization()
        if _needs_int8(graph, cast):
            _make_int8(model, graph, cast)
        else:
            _bypass(graph, cast)
            removed.append(cast)
    graph.operators = [operator for operator in graph.operators if not any(operator is cast for cast in removed)]
    drop_tensors(model, graph, {cast.outputs[0] for cast in removed})
    return schema.pack(model)


def _is_removable(model: Any, graph: Any, cast: Any) -> bool:
    if (
        schema.operator_name(model, cast) != "CAST"
        or cast.inputs[0] not in graph.inputs
        or cast.outputs[0] in graph.outputs
    ):
        return False
    if schema.type_name(graph.tensors[cast.inputs[0]]) not in ("UINT8", "INT8"):
        return False
    users = [schema.operator_name(model, operator) for operator in _users(graph, cast.outputs[0])]
    others = [one for one in _users(graph, cast.inputs[0]) if schema.operator_name(model, one) != "CAST"]
    return bool(users) and set(users) == {"QUANTIZE"} and not others


def _users(graph: Any, tensor: int) -> list[Any]:
    return [operator for operator in graph.operators if tensor in operator.inputs]


def _needs_int8(graph: Any, cast: Any) -> bool:
    quantized = {schema.type_name(graph.tensors[one.outputs[0]]) for one in _users(graph, cast.outputs[0])}
    return schema.type_name(graph.tensors[cast.inputs[0]]) == "UINT8" and "INT16" in quantized


def _make_int8(model: Any, graph: Any, cast: Any) -> None:
    as_float = graph.tensors[cast.outputs[0]]
    as_float.type = schema.type_number("INT8")
    as_float.quantization = schema.unit_quantization(zero_point=-128)
    cast.opcodeIndex = schema.operator_code(model, "QUANTIZE")
    cast.builtinOptionsType, cast.builtinOptions = 0, None


def _bypass(graph: Any, cast: Any) -> None:
    raw, as_float = cast.inputs[0], cast.outputs[0]
    for operator in graph.operators:
        operator.inputs = [raw if index == as_float else index for index in operator.inputs]


def drop_tensors(model: Any, graph: Any, dropped: set[int]) -> None:
    """Takes tensors out of the first graph of a model, which nothing reads or writes any more."""
    kept = [index for index in range(len(graph.tensors)) if index not in dropped]
    moved = {-1: -1} | {old: new for new, old in enumerate(kept)}
    graph.tensors = [graph.tensors[index] for index in kept]
    graph.inputs = [moved[index] for index in graph.inputs]
    graph.outputs = [moved[index] for index in graph.outputs]
    for operator in graph.operators:
        for name in ("inputs", "outputs", "intermediates"):
            indices = getattr(operator, name)
            setattr(operator, name, None if indices is None else [moved[index] for index in indices])
    for signature in model.signatureDefs or []:
        for one in [*signature.inputs, *signature.outputs] if signature.subgraphIndex == 0 else []:
            one.tensorIndex = moved[one.tensorIndex]
