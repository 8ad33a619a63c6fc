"""LiteRT files (`.tflite`) by ai-edge-quantizer: weights of 8 or 4 bits, activations in float32.

Weights are stored as integers with one scale for each output channel, and a DEQUANTIZE makes floats of them when the
file is opened. So every operator computes as in the float32 file, no data is needed to find ranges, and no model is
refused for an operator that has no integer kernel.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from segopt_callbacks.export import encoding, flatbuffer, litert, schema
from segopt_callbacks.export.errors import FormatError, first_line
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Target

# Format -> operator -> bits of its weights. The quantizer calls TRANSPOSE_CONV by another name.
BITS: dict[str, dict[str, int]] = {
    "weight_only_int8": dict.fromkeys(
        ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"), 8
    ),
    "int4": {
        "CONV_2D": 4,
        "DEPTHWISE_CONV_2D": 8,
        "TRANSPOSE_CONV": 4,
        "FULLY_CONNECTED": 4,
        "BATCH_MATMUL": 8,
    },
}
_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}


def target(name: str) -> Target:
    """The row of the table for one of `BITS`.

    Example:
        >>> target("int4").bytes_per_weight
        0.5
    """
    return Target(
        f"{name}.tflite",
        functools.partial(write, BITS[name]),
        litert.load,
        flatbuffer.read_weights,
        flatbuffer.read_activations,
        bytes_per_weight=min(BITS[name].values()) / 8,
        notes=encoding.read_notes,
        requires=("ai_edge_quantizer",),
        extra="int4",
    )


def write(bits: Mapping[str, int], source: Source, path: Path) -> None:
    """Converts to float32, quantizes that and writes it, sparse where that is smaller, see `encoding`.

    Args:
        bits: operator -> bits of its weights.
        source: the function to convert.
        path: the file to write.

    Raises:
        FormatError: if the converter or the quantizer refuses, or leaves a weight in another dtype.
    """
    content = quantize(litert.convert(litert.SETTINGS["float32"], source), bits)
    require_dtypes(content, bits)
    encoding.write_smallest(content, source, path, litert.load)


def quantize(content: bytes, bits: Mapping[str, int]) -> bytes:
    """The file with the weights of these operators as integers of so many bits.

    Scales are the largest weight of each output channel; zero stays zero.

    Args:
        content: a float32 `.tflite` file.
        bits: operator -> bits of its weights.

    Raises:
        FormatError: if the quantizer refuses.
    """
    from ai_edge_quantizer import qtyping, quantizer

    try:
        job = quantizer.Quantizer(_with_unique_names(content))
        for operator, number in bits.items():
            name = qtyping.TFLOperationName(_NAMES.get(operator, operator))
            job.update_quantization_recipe(".*", name, _weight_only(number))
        result = job.quantize(enable_progress_bar=False, enable_progress_report=False)
    except Exception as error:  # whatever it is, the quantizer has refused
        raise FormatError(f"ai-edge-quantizer refuses the model: {first_line(error)}") from error
    return schema.pack(schema.unpack(bytes(result.quantized_model)))  # large tensors move back into the flatbuffer


def require_dtypes(content: bytes, bits: Mapping[str, int]) -> None:
    """Raises unless every weight has the bits that its operator should have.

    The quantizer says nothing of what it leaves as it was.

    Raises:
        FormatError: naming the weights that have not.
    """
    wrong = [
        f"{one.name} ({one.operator}, {one.dtype})"
        for one in flatbuffer.stored_weights(content)
        if one.dtype != f"int{bits.get(one.operator, 8)}"
    ]
    if wrong:
        raise FormatError(f"ai-edge-quantizer left weights in another dtype: {', '.join(wrong)}; leave this format out")


def _weight_only(bits: int) -> Any:
    """What `Quantizer.add_weight_only_config` makes, but for the check against a list of operators.

    That list leaves out 4-bit weights of transposed convolutions. They need no kernel of their own, since a DEQUANTIZE
    comes first.
    """
    from ai_edge_quantizer import qtyping

    return qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=bits, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
        ),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
        skip_checks=True,
    )


def _with_unique_names(content: bytes) -> bytes:
    """The quantizer knows tensors by their names, which converters may use twice."""
    model = schema.unpack(content)
    seen: set[str] = set()
    is_changed = False
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            name = schema.tensor_name(tensor)
            unique = next(one for one in _numbered(name) if one not in seen)
            seen.add(unique)
            if unique != name:
                tensor.name, is_changed = unique, True
    return schema.pack(model) if is_changed else content


def _numbered(name: str) -> Iterator[str]:
    return (name if number == 1 else f"{name}_{number}" for number in itertools.count(1))
