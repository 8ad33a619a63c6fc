"""What files are compared with: the answers of the model in memory, the first ones while files are still written."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.data import Feed, cast_inputs
from segopt_callbacks.errors import FormatError, first_line

AHEAD = 2**25  # bytes of inputs and answers that may wait for the files


@dataclass
class Batch:
    """One batch of the data.

    Attributes:
        model: the model in memory.
        inputs: the leaves of `x`, as files take them.
        x, y, sample_weight: as `fit` has them.
    """

    model: Any
    inputs: list[np.ndarray]
    x: Any
    y: Any
    sample_weight: Any

    @functools.cached_property
    def answers(self) -> Any:
        """What the model answers, computed once.

        Raises:
            FormatError: if the model does not take the data.
        """
        return answers_of(self.model, self.x)

    @property
    def size(self) -> int:
        """Bytes of inputs and answers."""
        return sum(one.nbytes for one in [*self.inputs, *map(as_array, tf.nest.flatten(self.answers))])


class Reference:
    """All batches of the data, each read once.

    Args:
        model: the model in memory.
        feed: the data.
    """

    def __init__(self, model: Any, feed: Feed) -> None:
        self._model = model
        self._batches = (Batch(model, cast_inputs(batch[0], feed.specs), *batch) for batch in feed.batches())
        self._waiting: list[Batch] = []
        self._error: FormatError | None = None

    def look_ahead(self) -> None:
        """Computes the answers to the first batches, up to `AHEAD` bytes; what goes wrong is raised by iterating."""
        size = 0
        try:
            with compat.kept_state(self._model):
                while size < AHEAD and (batch := next(self._batches, None)):
                    self._waiting.append(batch)
                    size += batch.size
        except FormatError as error:
            self._error = error

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches; the model may still have to answer them.

        Raises:
            FormatError: if the data or the model do not go on.
        """
        while self._waiting:
            yield self._waiting.pop(0)
        if self._error is not None:
            raise self._error
        yield from self._batches


def answers_of(model: Any, x: Any) -> Any:
    """What the model in memory answers for inference.

    Raises:
        FormatError: if it does not take the data.
    """
    try:
        return compat.infer(model, tf.nest.map_structure(tf.convert_to_tensor, x))
    except (ValueError, tf.errors.OpError) as error:  # of shapes that a layer or an operation does not take
        raise FormatError(f"the model in memory does not take the data: {first_line(error)}") from error


def as_array(output: Any) -> np.ndarray:
    """An output as verification compares it: integers as they are, floats in float32."""
    array = np.asarray(tf.convert_to_tensor(output))
    return array if np.issubdtype(array.dtype, np.integer) else array.astype(np.float32)
