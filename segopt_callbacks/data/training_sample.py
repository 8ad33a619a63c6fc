"""Inputs of the fit that integer formats are calibrated on, where the user gives no representative data."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.data.reservoir import Reservoir
from segopt_callbacks.data.watching import watched, watched_last

NEVER = 2**62  # examples: longer than any fit


class TrainingSample:
    """A uniform random sample of the examples that one fit trains on, as it feeds them to the model.

    To be made in `on_train_begin`. The fit itself stays the same, to the bit.

    Args:
        model: in `fit`.

    Attributes:
        problem: why the inputs cannot be sampled; empty where they can.
    """

    def __init__(self, model: Any) -> None:
        self.problem = ""
        self._reservoir = Reservoir()
        self._inputs: Any = None
        try:
            self._inputs = compat.watch_training_data(model, self._watched)
        except LookupError as error:
            self.problem = str(error)

    def _watched(self, dataset: tf.data.Dataset, is_alone: bool) -> tf.data.Dataset:
        return (watched_last if is_alone else watched)(dataset, self._look)

    def _look(self, passed: int, *batch: np.ndarray) -> int:
        """Runs in the input pipeline, where an error would end the fit; returns how many examples need not be seen."""
        if self.problem:
            return NEVER
        if len({leaf.shape[:1] for leaf in batch}) != 1 or not batch[0].ndim:
            self.problem = f"inputs are not batches of the same examples: {', '.join(str(one.shape) for one in batch)}"
            return NEVER
        try:
            return self._reservoir.add(list(batch), passed)
        except MemoryError:
            self.problem = "there was no memory for examples"
            return NEVER

    def examples(self, specs: Any = None) -> list[Any]:
        """The sample, each example of batch size 1.

        Args:
            specs: structure of `tf.TensorSpec`, batch first, of the examples: only those of these sizes that lose
                nothing by being cast to these dtypes. Default: those of the most frequent size, in the structure in
                which the fit has them.
        """
        held = [] if self.problem else self._reservoir.examples
        structure = self._inputs if specs is None else specs
        if specs is None:
            common = Counter(map(_sizes, held)).most_common(1)
            held = [example for example in held if _sizes(example) == common[0][0]]
        else:
            leaves = tf.nest.flatten(specs)
            is_alike = len(leaves) == 1 or _names(specs) == _names(self._inputs)
            held = [example for example in held if is_alike and _fits(example, leaves)]
        return [tf.nest.pack_sequence_as(structure, [leaf[np.newaxis] for leaf in one]) for one in held]

    def told(self, used: int) -> str:
        """Says what is calibrated on.

        Args:
            used: how many examples of the sample; with 0, why none are.
        """
        if used:
            return f"{used} examples sampled from what the model was trained on"
        if self.problem:
            return f"no training inputs, since {self.problem}"
        if not self._reservoir.seen:
            return "no training inputs, since the fit read none"
        held = len(self._reservoir.examples)
        return f"no training inputs, since none of {held} examples has the structure, size and dtype of the files"

    def __call__(self) -> list[Any]:
        """The examples, as a `representative_dataset` gives them."""
        return self.examples()


def _sizes(example: list[np.ndarray]) -> tuple[tuple[int, ...], ...]:
    return tuple(leaf.shape for leaf in example)


def _names(structure: Any) -> Any:
    """What orders the leaves: the keys of dicts, and where lists or tuples are."""
    if isinstance(structure, dict):
        return {key: _names(one) for key, one in structure.items()}
    return [_names(one) for one in structure] if isinstance(structure, list | tuple) else None


def _fits(example: list[np.ndarray], specs: list[tf.TensorSpec]) -> bool:
    return len(example) == len(specs) and all(
        spec.shape[1:].is_compatible_with(leaf.shape)
        and (not spec.dtype.is_integer or np.issubdtype(leaf.dtype, np.integer))
        for leaf, spec in zip(example, specs, strict=True)
    )
