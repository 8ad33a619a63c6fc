"""An inference function without its dead channels, compared with the whole one before any file is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.channels import remove_channels
from segopt_callbacks.data import Feed, cast_inputs
from segopt_callbacks.errors import first_line
from segopt_callbacks.model import signature

TOLERANCE = 1e-3  # of the largest answer: sums of fewer zeros are rounded elsewhere
ROUNDED_TOLERANCE = 0.1  # a value at the edge of two integers may become the other one


def smaller(
    model: Any, frozen: signature.Frozen, feed: Feed, *, is_rounded: bool = False
) -> tuple[signature.Frozen, dict[str, Any]]:
    """Removes dead channels from a function; leaves it whole where the smaller one answers otherwise.

    Args:
        model: that the function was made from; left as it was.
        frozen: the function.
        feed: data of the model.
        is_rounded: whether the function rounds what it computes to integers.

    Returns:
        the function, and what the report tells of its channels; empty where none is dead.
    """
    try:
        cut, removal = remove_channels(frozen)
        if not removal.removed and not removal.left:
            return frozen, {}
        if cut is frozen:
            return frozen, removal.entry()
        with compat.kept_state(model):
            difference = _difference(frozen, cut, feed)
    except compat.converter_errors() as error:
        return frozen, {"left_whole": f"channels stay, since the smaller function does not run: {first_line(error)}"}
    if difference > (ROUNDED_TOLERANCE if is_rounded else TOLERANCE):
        return frozen, {"left_whole": f"channels stay, since the answers without them differ by {difference:.2g}"}
    return cut, removal.entry()


def _difference(whole: signature.Frozen, cut: signature.Frozen, feed: Feed) -> float:
    """The largest difference of answers to one example, each output as a fraction of its largest answer."""
    example = next((x for x, _, _ in feed.batches()), None)
    if example is None:
        return 0.0
    inputs = [
        tf.constant(np.repeat(one[:1], port.shape[0] or 1, axis=0) if port.shape else one)
        for one, port in zip(cast_inputs(example, feed.specs), whole.inputs, strict=True)
    ]
    ours, theirs = (_answers(one, inputs) for one in (whole, cut))
    found = [0.0]
    for left, right in zip(ours, theirs, strict=True):
        if left.shape != right.shape:
            return float("inf")
        magnitude = max(float(np.abs(np.nan_to_num(left)).max(initial=0.0)), float(np.finfo(np.float32).tiny))
        apart = np.where(np.isfinite(left) | np.isfinite(right), np.abs(left - right), 0.0)
        found.append(float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0)) / magnitude)
    return max(found)


def _answers(frozen: signature.Frozen, inputs: Sequence[tf.Tensor]) -> list[np.ndarray]:
    named = {port.name: one for port, one in zip(frozen.inputs, inputs, strict=True)}
    answers = frozen.serve(**named)
    return [np.asarray(answers[port.name].numpy(), np.float64) for port in frozen.outputs]
