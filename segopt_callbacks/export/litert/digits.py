"""Scales and biases in as many digits as matter: what stands beside the weights of a file compresses better.

A float32 has 24 significant bits. Beside weights of 4 bits, most of those of a scale tell nothing, and noise does not
compress. They took 7% of a sparse `int4` file after gzip (docs/recipes.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import Any

import numpy as np

from segopt_callbacks.export.litert import flatbuffer, schema

_BITS = {"INT4": 4, "INT8": 8}
SPARE_BITS = 4  # that a scale has more than its weights, so that it costs a sixteenth of what their rounding costs
BIAS_BITS = 12  # one more than float16: nothing averages the error of a bias, and it may outweigh the products


def shorten(content: bytes) -> bytes:
    """Rounds the scales of integer weights to 4 bits more than the weights have, and their biases to 12 bits.

    Args:
        content: a `.tflite` file whose operators add biases in float.

    Returns:
        the file with the same integers for weights; the very same bytes where nothing can be shorter.
    """
    model = schema.unpack(content)
    is_changed = False
    for graph in model.subgraphs:
        weights = {index: bits for index in flatbuffer.kernels(model, graph) if (bits := _bits(graph.tensors[index]))}
        for index, bits in weights.items():
            is_changed |= _shorten_scales(graph.tensors[index], bits + SPARE_BITS)
        for index in _biases(model, graph, weights):
            is_changed |= _shorten_values(model, graph.tensors[index])
    return schema.pack(model) if is_changed else content


def significant(values: np.ndarray, bits: int) -> np.ndarray:
    """The nearest numbers of so many significant bits.

    Args:
        values: float32, of any shape.
        bits: at least 1.

    Returns:
        float32; each differs from its value by a fraction of `2 ** -bits` at most.

    Example:
        >>> significant(np.array([1.0, 1.01, -300.07, 0.0], "float32"), 8).tolist()
        [1.0, 1.0078125, -300.0, 0.0]
    """
    mantissas, exponents = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissas, bits)), exponents - bits).astype(np.float32)


def _bits(tensor: Any) -> int:
    """Of a weight that has scales; 0 of any other."""
    has_scales = tensor.quantization is not None and tensor.quantization.scale is not None
    return _BITS.get(schema.type_name(tensor), 0) if has_scales else 0


def _biases(model: Any, graph: Any, weights: Container[int]) -> list[int]:
    """Float constants that are added to the products of these weights, and that nothing else reads."""
    origins, added, read = flatbuffer.constant_origins(model, graph), Counter[int](), Counter[int]()
    stored = Counter(tensor.buffer for part in model.subgraphs for tensor in part.tensors)
    for operator in graph.operators:
        inputs = [int(index) for index in operator.inputs]
        read.update(inputs)
        if any(origins.get(index, index) in weights for index in inputs[:-1]) and inputs[-1] >= 0:
            added[inputs[-1]] += 1
    return [
        index
        for index, count in added.items()
        if count == read[index] and stored[graph.tensors[index].buffer] == 1 and _is_bias(model, graph.tensors[index])
    ]


def _is_bias(model: Any, tensor: Any) -> bool:
    is_vector = tensor.shape is not None and len(tensor.shape) == 1
    return is_vector and schema.type_name(tensor) == "FLOAT32" and schema.constant(model, tensor) is not None


def _shorten_scales(tensor: Any, bits: int) -> bool:
    before = np.asarray(tensor.quantization.scale, np.float32)
    tensor.quantization.scale = significant(before, bits)
    return not np.array_equal(before, tensor.quantization.scale)


def _shorten_values(model: Any, tensor: Any) -> bool:
    before = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.float32)
    after = significant(before, BIAS_BITS)
    model.buffers[tensor.buffer].data = after.view(np.uint8)
    return not np.array_equal(before, after)
