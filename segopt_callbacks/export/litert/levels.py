"""4-bit weights on the levels that training rounded them to.

The quantizer takes the largest weight of an output channel for the largest level. Where that weight read a channel that
was removed, what is left ends at a lower level, and would be rounded once more, to levels of another spacing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from segopt_callbacks.export.litert import flatbuffer, schema
from segopt_callbacks.export.litert.shared_scales import alike

LARGEST = 7
_NEAR = 1e-3  # of a level: what folding a BatchNormalization, and float arithmetic, leave


def keep_levels(content: bytes, kernels: Iterable[np.ndarray]) -> bytes:
    """Stores 4-bit weights by the levels that they lie on.

    Args:
        content: a `.tflite` file with int4 weights, symmetric, a scale for each output channel.
        kernels: the weights of the function that it was made from, in Keras' layout.

    Returns:
        the file with other integers and scales; the very same bytes where the quantizer has found all levels.
    """
    known = [kernel for kernel in kernels if kernel.ndim >= 2]
    model = schema.unpack(content)
    is_changed = False
    for graph in model.subgraphs:
        for index, name in flatbuffer.kernels(model, graph).items():
            if schema.type_name(graph.tensors[index]) == "INT4":
                is_changed |= _keep(model, graph.tensors[index], known, flatbuffer.WEIGHT_OPERATORS[name])
    return schema.pack(model) if is_changed else content


def codes_on_levels(codes: np.ndarray, scales: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Integers and scales that stand for a kernel without another rounding, in each channel where there are any.

    Args:
        codes: `(channels, elements)`, those of the file.
        scales: `(channels,)`.
        kernel: `(channels, elements)`, of which each channel of the file is a multiple.

    Returns:
        codes and scales; `None` if the file holds no multiple of the kernel, or nothing has to change.

    Example:
        >>> kernel = np.array([[5.0, -3.0, 1.0], [7.0, 2.0, 1.0]], "float32")
        >>> rounded = np.array([[7, -4, 1], [7, 2, 1]])
        >>> codes, scales = codes_on_levels(rounded, np.array([10 / 7, 1.0]), kernel)
        >>> codes.tolist(), scales.round(4).tolist()
        ([[5, -3, 1], [7, 2, 1]], [2.0, 1.0])
    """
    largest = np.abs(kernel).max(axis=1, initial=0)
    is_alive = largest > 0
    safe = np.where(is_alive, largest, 1)
    factors = np.where(np.sum(codes * kernel, axis=1) < 0, -1, 1) * LARGEST * scales / safe
    if not (np.abs(factors[:, None] * kernel - codes * scales[:, None]) <= 0.51 * scales[:, None]).all():
        return None
    top = np.zeros(len(kernel), int)
    for level in range(1, LARGEST + 1):  # the highest one that fits is the last
        at = kernel * (level / safe)[:, None]
        top[(np.abs(at - np.round(at)) < _NEAR).all(axis=1) & is_alive] = level
    changed = (top > 0) & (top < LARGEST)
    if not changed.any():
        return None
    on = np.round(kernel * (top / safe)[:, None]) * np.sign(factors)[:, None]
    new_scales = np.where(changed, np.abs(factors) * safe / np.maximum(top, 1), scales)
    return np.where(changed[:, None], on, codes).astype(np.int8), new_scales.astype(np.float32)


def _keep(model: Any, tensor: Any, kernels: list[np.ndarray], axis: int) -> bool:
    before, quantization = schema.values(model, tensor), tensor.quantization
    if before is None or tensor.sparsity is not None or quantization is None or quantization.scale is None:
        return False
    scales, channels = np.asarray(quantization.scale, np.float32), before.shape[axis]
    if scales.size != channels or np.any(quantization.zeroPoint):
        return False
    first = np.moveaxis(before, axis, 0)
    for kernel in alike(kernels, channels, before.size):
        found = codes_on_levels(first.reshape(channels, -1), scales, kernel)
        if found is not None:
            quantization.scale = found[1]
            codes = np.ascontiguousarray(np.moveaxis(found[0].reshape(first.shape), 0, axis))
            model.buffers[tensor.buffer].data = _in_nibbles(codes)
            return True
    return False


def _in_nibbles(codes: np.ndarray) -> np.ndarray:
    """The other way round of `schema.nibbles`.

    Example:
        >>> _in_nibbles(np.array([1, -1, 7], np.int8)).tolist()
        [241, 7]
    """
    flat = np.append(codes.ravel(), np.zeros(codes.size % 2, np.int8)).view(np.uint8) & 0xF
    return flat[::2] | flat[1::2] << 4
