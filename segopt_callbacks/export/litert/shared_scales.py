"""Few distinct values in a kernel -> as few distinct integers in the file.

A file multiplies the integers of each output channel by a scale of its own. Converters choose it by the channel's
largest weight, so that one of 16 shared values has another integer in each channel that lacks the largest of them:
dozens of distinct integers, which compress worse. Here the scales are chosen so that each shared value is one integer
in every channel. What a converter has multiplied channels by, such as the scale of a BatchNormalization, goes into the
scales alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from segopt_callbacks.export.litert import flatbuffer, schema
from segopt_callbacks.export.matching import layouts

LARGEST = 127
MOST_DISTINCT = 128  # values of a kernel; with more, nearly every integer is in use anyway
MOST_ERROR = 4e-4  # of a channel's energy, by rounding: 2% of its weights, root mean square
_BIASES = {"INT32": np.int32, "INT64": np.int64}


def share_scales(content: bytes, kernels: Iterable[np.ndarray]) -> bytes:
    """Chooses the scales of kernels of few distinct values so that these are few distinct integers.

    Args:
        content: a `.tflite` file with int8 weights, symmetric, a scale for each output channel.
        kernels: the weights of the model that it was made from, in Keras' layout.

    Returns:
        the file with fewer distinct weights; the very same bytes where there is nothing to gain.
    """
    shared = [kernel for kernel in kernels if kernel.ndim >= 2 and _has_few_values(kernel)]
    model = schema.unpack(content)
    is_changed = False
    for graph in model.subgraphs if shared else []:
        for index, name in flatbuffer.kernels(model, graph).items():
            if _is_shared(model, graph, index):
                continue
            biases = _biases(model, graph, index)
            is_changed |= _share(model, graph, index, biases, shared, flatbuffer.WEIGHT_OPERATORS[name])
    return schema.pack(model) if is_changed else content


def shared_codes(codes: np.ndarray, scales: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Integers that are equal wherever a kernel's values are.

    Args:
        codes: `(channels, elements)`, integers of a file, symmetric around 0.
        scales: `(channels,)`, what each channel is multiplied by; its largest weight over 127.
        kernel: `(channels, elements)`, float32, of which each channel of the file is a multiple.

    Returns:
        codes and scales that stand for the same weights; `None` if the file holds no multiple of the kernel, or a
        common integer for each value would be too coarse.

    Example:
        >>> kernel = np.array([[1.0, 0.5], [0.5, -0.5]], "float32")
        >>> in_file, scales = np.array([[127, 64], [127, -127]]), np.array([1 / 127, 2 / 127])
        >>> shared, scales = shared_codes(in_file, scales, kernel)
        >>> shared.tolist(), (scales * 127).tolist()
        ([[127, 64], [64, -64]], [1.0, 4.0])
    """
    step = np.abs(kernel).max(initial=0) / np.float32(LARGEST)
    if not step:
        return None
    is_alive = kernel.any(axis=1)
    largest = np.where(is_alive, np.abs(kernel).max(axis=1), 1)
    factors = np.where(np.sum(codes * kernel, axis=1) < 0, -1, 1) * LARGEST * scales / largest
    is_multiple = np.abs(factors[:, None] * kernel - codes * scales[:, None]) <= 0.51 * scales[:, None]
    rounded = np.round(kernel / step)
    error = np.square(rounded * step - kernel, dtype=np.float64).sum(axis=1)
    if not is_multiple.all() or np.any(error > MOST_ERROR * np.square(kernel, dtype=np.float64).sum(axis=1)):
        return None
    signed = rounded * np.sign(factors)[:, None]
    return signed.astype(np.int8), np.where(is_alive, np.abs(factors) * step, scales).astype(np.float32)


def _has_few_values(kernel: np.ndarray) -> bool:
    # Weights that happen to be few share nothing, whether the others were pruned or never there.
    alive = kernel[kernel != 0]
    return np.unique(alive).size <= min(MOST_DISTINCT, 0.9 * alive.size)


def _share(model: Any, graph: Any, index: int, biases: Sequence[int], kernels: Sequence[np.ndarray], axis: int) -> bool:
    """Changes one kernel, and the biases that are added to its products; returns whether that helped."""
    tensor = graph.tensors[index]
    before, quantization = schema.values(model, tensor), tensor.quantization
    if schema.type_name(tensor) != "INT8" or before is None or quantization is None or quantization.scale is None:
        return False
    scales, channels = np.asarray(quantization.scale, np.float32), before.shape[axis]
    if not channels == scales.size > 1 or np.any(quantization.zeroPoint):
        return False
    if any(np.size(graph.tensors[bias].quantization.scale) != channels for bias in biases):
        return False
    first = np.moveaxis(before, axis, 0)
    for kernel in alike(kernels, channels, before.size):
        found = shared_codes(first.reshape(channels, -1), scales, kernel)
        if found is None:
            continue
        codes = np.ascontiguousarray(np.moveaxis(found[0].reshape(first.shape), 0, axis))
        if np.unique(codes).size >= np.unique(before).size:
            return False
        quantization.scale = found[1]
        model.buffers[tensor.buffer].data = codes.view(np.uint8).ravel()
        for bias in biases:
            _rescale(model, _own(model, graph, bias, index), found[1] / scales)
        return True
    return False


def alike(kernels: Sequence[np.ndarray], channels: int, size: int) -> Iterator[np.ndarray]:
    """The kernels that have this shape in some layout, in that layout."""
    for kernel in kernels:
        for layout in layouts(kernel):
            if layout.shape == (channels, size // channels):
                yield np.ascontiguousarray(layout, np.float32)


def _is_shared(model: Any, graph: Any, kernel: int) -> bool:
    """Whether a kernel has another use that would not follow."""
    return sum(one.buffer == graph.tensors[kernel].buffer for part in model.subgraphs for one in part.tensors) > 1


def _ways(graph: Any, kernel: int) -> list[Any]:
    return [one for one in graph.operators if kernel in one.inputs]


def _biases(model: Any, graph: Any, kernel: int) -> list[int]:
    """What is added to a kernel's products in integers, whose scales are the products of those of input and kernel."""
    used = {index for way in _ways(graph, kernel) for index in way.inputs if index >= 0}
    return sorted(index for index in used if _is_bias(model, graph.tensors[index]))


def _own(model: Any, graph: Any, bias: int, kernel: int) -> Any:
    """The bias as a tensor that nothing but this kernel's operators read, in a buffer that nothing else lies in.

    Converters store what is equal once: zeros that are added to the products of many kernels.
    """
    ways, tensor = _ways(graph, kernel), graph.tensors[bias]
    if any(bias in one.inputs for one in graph.operators if one not in ways):
        tensor = copy.deepcopy(tensor)
        tensor.name = schema.tensor_name(tensor).encode() + f"/{kernel}".encode()
        graph.tensors.append(tensor)
        for way in ways:
            way.inputs = [len(graph.tensors) - 1 if index == bias else index for index in way.inputs]
    if sum(one.buffer == tensor.buffer for part in model.subgraphs for one in part.tensors) > 1:
        model.buffers.append(copy.deepcopy(model.buffers[tensor.buffer]))
        tensor.buffer = len(model.buffers) - 1
    return tensor


def _is_bias(model: Any, tensor: Any) -> bool:
    has_scale = tensor.quantization is not None and tensor.quantization.scale is not None
    return has_scale and schema.type_name(tensor) in _BIASES and schema.constant(model, tensor) is not None


def _rescale(model: Any, bias: Any, factors: np.ndarray) -> None:
    """Writes a bias in units that are `factors` times as large, one for each output channel."""
    dtype = _BIASES[schema.type_name(bias)]
    codes = model.buffers[bias.buffer].data.view(dtype)
    model.buffers[bias.buffer].data = np.round(codes / factors.astype(np.float64)).astype(dtype).view(np.uint8)
    bias.quantization.scale = np.asarray(bias.quantization.scale, np.float32) * factors
