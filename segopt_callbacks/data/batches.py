"""Evaluation data that come in batches from Python: a `PyDataset`, a `Sequence`, a loader, a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

HELD_BYTES = 2 * 2**30  # of a generator, which can be read once


class Batches:
    """Batches that can be read as often as need be, each `(x, y, sample_weight)` of arrays; `None` for what is missing.

    What has a length and items, or can be iterated anew, is read again each time. A generator can be read once: its
    batches are held in memory as they are read.

    Args:
        source: yields `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`, in batches, and ends.

    Example:
        >>> batches = Batches((np.zeros((4, 2)), np.zeros(4)) for _ in range(3))
        >>> len(list(batches)), len(list(batches))
        (3, 3)
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self._read: Callable[[], Iterator[Any]] = _Held(source).read if hasattr(source, "__next__") else self._again

    def __iter__(self) -> Iterator[tuple[Any, Any, Any]]:
        return map(as_triple, self._read())

    def hold(self) -> None:
        """Reads what can be read once, to its end.

        Raises:
            ValueError: if it does not end.
        """
        if hasattr(self.source, "__next__"):
            for _ in self:
                pass

    def __repr__(self) -> str:
        return f"batches of {type(self.source).__name__}"

    def __getstate__(self) -> dict[str, Any]:
        if hasattr(self.source, "__next__"):
            raise TypeError(f"cannot pickle {self!r}, which can be read once; pass a PyDataset, arrays or a Dataset")
        return {"source": self.source}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(Batches(state["source"])))

    def _again(self) -> Iterator[Any]:
        if not is_sequence(self.source):
            return iter(self.source)
        count = getattr(self.source, "num_batches", None) or len(self.source)
        return (self.source[index] for index in range(count))

    def as_dataset(self) -> tf.data.Dataset:
        """The same as a dataset, for `evaluate`: without what is missing.

        Raises:
            ValueError: if there is no batch.
        """
        structure: Any = None
        shapes: list[tuple[int | None, ...]] = []
        for batch in self:
            leaves = tf.nest.flatten(_given(batch))
            if structure is None:
                structure, shapes = _given(batch), [leaf.shape for leaf in leaves]
            shapes = [
                tuple(size if size == other else None for size, other in zip(shape, leaf.shape, strict=True))
                for shape, leaf in zip(shapes, leaves, strict=True)
            ]
        if structure is None:
            raise ValueError("`evaluation_data` must have at least one example. Received: no batch.")
        specs = [
            tf.TensorSpec((None, *shape[1:]), leaf.dtype)
            for shape, leaf in zip(shapes, tf.nest.flatten(structure), strict=True)
        ]
        signature = tf.nest.pack_sequence_as(structure, specs)
        return tf.data.Dataset.from_generator(lambda: map(_given, self), output_signature=signature)


class _Held:
    """What an iterator yields, kept."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator
        self._kept: list[Any] = []
        self._bytes = 0

    def read(self) -> Iterator[Any]:
        """All of it, from the first on; what was not needed before is read now."""
        position = 0
        while True:
            if position == len(self._kept) and not self._take():
                return
            yield self._kept[position]
            position += 1

    def _take(self) -> bool:
        try:
            batch = as_triple(next(self._iterator))
        except StopIteration:
            return False
        self._bytes += sum(leaf.nbytes for leaf in tf.nest.flatten(batch) if leaf is not None)
        if self._bytes > HELD_BYTES:
            raise ValueError(
                "`evaluation_data` must end; a generator is held in memory, since it can be read once: pass a "
                "tf.data.Dataset, a PyDataset or a Sequence, or let the generator end earlier. Received: "
                f"{len(self._kept) + 1} batches of {self._bytes / 2**30:.1f} GiB, and no end."
            )
        self._kept.append(batch)
        return True


def is_sequence(data: Any) -> bool:
    """Whether `data` gives its batches by their number: a `PyDataset` of Keras 3, a `Sequence` of Keras 2."""
    is_plain = isinstance(data, list | tuple | dict | str | bytes) or hasattr(data, "dtype")
    return not is_plain and hasattr(data, "__getitem__") and (hasattr(data, "__len__") or hasattr(data, "num_batches"))


def as_triple(element: Any) -> tuple[Any, Any, Any]:
    """An element as `fit` takes it -> `(x, y, sample_weight)` of arrays, `None` for what is missing.

    Raises:
        ValueError: for a tuple of another length.
    """
    parts = tuple(element) if isinstance(element, tuple | list) else (element,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            f"`evaluation_data` must yield x, (x, y) or (x, y, sample_weight). Received: {len(parts)} parts in a batch."
        )
    return tf.nest.map_structure(lambda one: None if one is None else np.asarray(one), (*parts, None, None)[:3])


def _given(batch: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    x, y, sample_weight = map(_tuples, batch)
    return (x,) if y is None else (x, y) if sample_weight is None else (x, y, sample_weight)


def _tuples(structure: Any) -> Any:
    """TensorFlow makes one tensor of a list."""
    return tuple(map(_tuples, structure)) if isinstance(structure, list) else structure
