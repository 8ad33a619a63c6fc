"""LiteRT files (`.tflite`) by ai-edge-quantizer: weights of 8 or 4 bits, activations in float32.

Weights are integers with one scale for each output channel, the largest of its weights; zero stays zero.

`weight_only_int8`: a DEQUANTIZE makes floats of them when the file is opened, so that every operator computes as in the
float32 file, as fast.

`int4`: convolutions and dense layers read 4-bit weights themselves, and round their float inputs to int8 while they
run. The other operators have no such kernel; their weights have 8 bits, behind a DEQUANTIZE. Measured in LiteRT 2.3, on
one thread, on a trained U-Net of 0.5M weights (test mIoU 0.743 in float32, 0.740 with 4 bits in each of these ways):

| 4-bit weights, and activations in | bytes, float32 = 1 | time, float32 = 1 |
|---|---|---|
| float, rounded by the kernels (this one) | 0.150 | 1.2 |
| float, all weights behind a DEQUANTIZE | 0.140 | 3.5 |
| int8, ranges from data | 0.155 | 0.9 |

Integer activations gain little: only `int8` (0.3) is fast. They cost much: they need data, and ai-edge-quantizer leaves
operators in float that TensorFlow's converter quantizes. 4 bits are for a small file, and any model gets one this way.
Clipping outliers for a smaller mean squared error (the algorithms OCTAV and MSE, or a search) gained nothing, and MSE
divides by zero in a dead channel.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export.litert import converter, encoding, flatbuffer, schema
from segopt_callbacks.export.litert.digits import shorten
from segopt_callbacks.export.litert.levels import keep_levels
from segopt_callbacks.export.litert.shared_scales import share_scales
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import EIGHT_BIT_TOLERANCE, FOUR_BIT_TOLERANCE, Target


@dataclass(frozen=True)
class Storage:
    """How the weights of one operator are stored.

    Attributes:
        bits: of a weight.
        is_read_by_kernel: whether the operator reads the integers itself, instead of floats behind a DEQUANTIZE.
    """

    bits: int
    is_read_by_kernel: bool = False


Recipe = Mapping[str, Storage]  # operator -> how its weights are stored

_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL")
_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}  # what the quantizer calls by another name
_BEHIND_DEQUANTIZE = dict.fromkeys(_OPERATORS, Storage(8))
_READ_BY_KERNEL = dict.fromkeys(("CONV_2D", "FULLY_CONNECTED"), Storage(4, is_read_by_kernel=True))
RECIPES: dict[str, Recipe] = {
    "weight_only_int8": _BEHIND_DEQUANTIZE,
    "int4": {**_BEHIND_DEQUANTIZE, **_READ_BY_KERNEL},
}


def target(name: str) -> Target:
    """The row of the table for one of `RECIPES`.

    Example:
        >>> target("int4").bytes_per_weight
        0.5
    """
    bits = min(storage.bits for storage in RECIPES[name].values())
    return Target(
        f"{name}.tflite",
        functools.partial(write, RECIPES[name]),
        converter.load,
        flatbuffer.read_weights,
        flatbuffer.read_activations,
        bytes_per_weight=bits / 8,
        tolerance=FOUR_BIT_TOLERANCE if bits == 4 else EIGHT_BIT_TOLERANCE,
        open_sizes=True,
        notes=encoding.read_notes,
        requires=("ai_edge_quantizer",),
        extra="int4",
    )


def write(recipe: Recipe, source: Source, path: Path) -> None:
    """Converts to float32, quantizes that and writes it, sparse where that is smaller, see `encoding`.

    Args:
        recipe: one of `RECIPES`.
        source: the function to convert.
        path: the file to write.

    Raises:
        FormatError: if the converter or the quantizer refuses, or leaves a weight in another dtype.
    """
    content = share_scales(quantize(converter.float_content(source), recipe), source.kernels())
    content = shorten(keep_levels(content, source.kernels()))
    require_dtypes(content, recipe)
    path.write_bytes(content)
    del content
    encoding.keep_smallest(path, source, converter.load)


def quantize(content: bytes, recipe: Recipe) -> bytes:
    """The file with its weights stored by a recipe.

    Args:
        content: a float32 `.tflite` file.
        recipe: one of `RECIPES`.

    Raises:
        FormatError: if the quantizer refuses.
    """
    from ai_edge_quantizer import qtyping, quantizer

    named = _with_unique_names(content)
    try:
        job = quantizer.Quantizer(named)
        for operator, storage in recipe.items():
            name = qtyping.TFLOperationName(_NAMES.get(operator, operator))
            add = job.add_dynamic_config if storage.is_read_by_kernel else job.add_weight_only_config
            add(".*", name, storage.bits)
        result = job.quantize(enable_progress_bar=False, enable_progress_report=False)
    except Exception as error:  # it has none of its own; what it does not foresee is a KeyError, or NumPy's
        raise FormatError(f"ai-edge-quantizer refuses the model: {first_line(error)}") from error
    return schema.pack(schema.unpack(bytes(result.quantized_model)))  # large tensors move back into the flatbuffer


def require_dtypes(content: bytes, recipe: Recipe) -> None:
    """Raises unless every weight has the bits that its operator should have.

    The quantizer says nothing of what it leaves as it was.

    Args:
        content: a `.tflite` file.
        recipe: what it was quantized by.

    Raises:
        FormatError: naming the weights that have not, or if there are none.
    """
    stored = [(one.name, one.operator, one.dtype) for one in flatbuffer.stored_weights(content)]
    if not stored:
        raise FormatError("ai-edge-quantizer finds no weights to quantize in it; leave this format out")
    wrong = [
        f"{name} ({operator}, {dtype})"
        for name, operator, dtype in stored
        if operator not in recipe or dtype != f"int{recipe[operator].bits}"
    ]
    if wrong:
        raise FormatError(f"ai-edge-quantizer left weights in another dtype: {', '.join(wrong)}; leave this format out")


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
