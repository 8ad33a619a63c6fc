"""The lowest and the highest value of tensors, over many examples: several at a time, where the model lets them be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.quantization.fake_quant import extremes

MOST = 16  # examples at a time
NUMBERS = 2**20  # of their inputs at a time, about: a network holds a hundred times as many
_ALIKE = 1e-3  # of a range: what another order of additions costs

Capture = Callable[..., Mapping[str, tf.Tensor]]  # inputs, batch first -> tensors by name
Bounds = dict[str, np.ndarray]  # name -> (2,) lowest and highest value; NaN where one of them is not finite


def bounds_of(capture: Capture, examples: Iterable[list[np.ndarray]]) -> dict[str, tuple[float, float]]:
    """Runs examples and finds the bounds of what is captured; zero is taken into each range.

    A model may mix what it is fed together, by a reshape to a batch of 1 for instance. So the first two examples are
    run together and alone; where that differs, all of them are run alone.

    Args:
        capture: from inputs, batch first, to tensors by name.
        examples: each a list of inputs of batch size 1.

    Returns:
        name -> lowest and highest value, NaN where a value is not finite; empty where there is no example.
    """
    reduce = _reduced(capture)
    found: Bounds = {}
    apart: bool | None = None  # not known yet
    for batch in _batches(examples):
        if apart is None and len(batch) > 1:
            apart = _are_apart(reduce, batch[:2])
        for part in [batch] if apart else [[one] for one in batch]:
            found = _joined(found, reduce(_stacked(part)))
    return {name: (float(low), float(high)) for name, (low, high) in found.items()}


def _batches(examples: Iterable[list[np.ndarray]]) -> Iterator[list[list[np.ndarray]]]:
    """Neighbours of equal shapes, together."""
    batch: list[list[np.ndarray]] = []
    for example in examples:
        most = min(MOST, NUMBERS // max(sum(value.size for value in example), 1))
        is_like = not batch or [one.shape for one in batch[0]] == [one.shape for one in example]
        if batch and (not is_like or len(batch) >= most):
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch


def _stacked(examples: Sequence[list[np.ndarray]]) -> list[np.ndarray]:
    return [np.concatenate(values) for values in zip(*examples, strict=True)]


def _are_apart(reduce: Callable[[list[np.ndarray]], Bounds], examples: Sequence[list[np.ndarray]]) -> bool:
    """Whether examples give the same next to each other as alone."""
    alone: Bounds = {}
    for example in examples:
        alone = _joined(alone, reduce(example))
    try:
        together = reduce(_stacked(examples))
    except tf.errors.InvalidArgumentError:  # shapes of a batch of 1 are built in
        return False
    return all(
        np.all(np.abs(together[name] - ends) <= _ALIKE * (ends[1] - ends[0]))
        for name, ends in alone.items()
        if np.isfinite(ends).all()  # of others nothing is of use
    )


def _joined(one: Bounds, other: Bounds) -> Bounds:
    """NumPy's minimum of anything and NaN is NaN."""
    return {
        name: np.array([np.minimum(low, one[name][0]), np.maximum(high, one[name][1])]) if name in one else other[name]
        for name, (low, high) in other.items()
    }


def _reduced(capture: Capture) -> Callable[[list[np.ndarray]], Bounds]:
    """Inputs -> bounds, in one graph: the tensors themselves stay there."""
    # Traced once where it is known what comes: batches of one, of two and of many are three shapes.
    signature = getattr(capture, "input_signature", None)

    def reduce(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: _ends(tensor) for name, tensor in capture(*inputs).items()}

    traced = compat.traced(reduce, input_signature=signature, reduce_retracing=signature is None, autograph=False)
    return lambda inputs: {name: ends.numpy() for name, ends in traced(*map(tf.constant, inputs)).items()}


def _ends(tensor: tf.Tensor) -> tf.Tensor:
    """`(2,)`; the least of NaN and a number is either, so that NaN is looked for."""
    spoiled = tf.where(tf.reduce_all(tf.math.is_finite(tensor)), 0.0, np.nan)
    return tf.stack(extremes(tensor)) + spoiled
