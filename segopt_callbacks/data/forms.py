"""Evaluation and representative data, in whatever form the user has them -> batches and single examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

BATCH_SIZE = 16  # of evaluation arrays; a dataset keeps its own
EXAMPLE_LIMIT = 200  # ranges settle long before; each example is a run of the float model


def validate_evaluation_data(data: Any) -> None:
    """Checks evaluation data without reading it.

    Raises:
        ValueError: unless it is `None`, `(x, y)`, `(x, y, sample_weight)` or a finite `tf.data.Dataset` of batches.

    Example:
        >>> validate_evaluation_data((np.zeros((2, 4)), np.zeros(2)))
    """
    if data is None:
        return
    if isinstance(data, tf.data.Dataset):
        if not isinstance(data.element_spec, tuple) or len(data.element_spec) not in (2, 3):
            raise ValueError(
                "`evaluation_data` must yield (x, y) or (x, y, sample_weight). "
                f"Received: a dataset of {data.element_spec}."
            )
        if int(data.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "`evaluation_data` must end; call .take(n) on it. Received: a dataset that repeats forever."
            )
    elif not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError(
            "`evaluation_data` must be (x, y), (x, y, sample_weight) or a tf.data.Dataset of them. "
            f"Received: {type(data).__name__}."
        )
    elif not leaves(data[0]) or len(leaves(data[0])[0]) == 0:
        raise ValueError("`evaluation_data` must have at least one example. Received: an empty x.")


def evaluation_batches(data: Any, batch_size: int = BATCH_SIZE) -> Iterator[tuple[Any, Any, Any]]:
    """Yields `(x, y, sample_weight)` in batches of NumPy arrays; `sample_weight` is `None` where there is none.

    Args:
        data: `(x, y[, sample_weight])` of arrays, cut into batches, or a dataset of batches.
        batch_size: of arrays.

    Example:
        >>> [x.shape for x, _, _ in evaluation_batches((np.zeros((20, 4)), np.zeros(20)))]
        [(16, 4), (4, 4)]
    """
    if isinstance(data, tf.data.Dataset):
        for element in data.as_numpy_iterator():
            yield (*element, None)[:3]
        return
    arrays = tf.nest.map_structure(lambda one: None if one is None else np.asarray(one), (*data, None)[:3])
    size = len(leaves(arrays[0])[0])
    for start in range(0, size, batch_size):
        stop = min(start + batch_size, size)
        yield tf.nest.map_structure(lambda one, a=start, b=stop: None if one is None else one[a:b], arrays)


def validate_representative_dataset(data: Any) -> None:
    """Checks representative data without reading it.

    Raises:
        ValueError: unless it is `None`, a callable or a `tf.data.Dataset`.

    Example:
        >>> validate_representative_dataset(lambda: [[np.zeros((1, 4), "float32")]])
    """
    if data is not None and not callable(data) and not isinstance(data, tf.data.Dataset):
        raise ValueError(
            "`representative_dataset` must be a callable that yields lists or dicts of inputs, or a tf.data.Dataset. "
            f"Received: {type(data).__name__}."
        )


def representative_examples(data: Any, inputs: Any) -> Iterator[Any]:
    """Yields at most `EXAMPLE_LIMIT` examples, each of batch size 1, in the structure of `inputs`.

    Args:
        data: a callable that yields what LiteRT takes (lists of arrays, or dicts by the input's name, batch first),
            or a dataset of `x` or `(x, y)`, in batches or not.
        inputs: structure of `tf.TensorSpec`, batch first, what the model takes; or `None` if that is not known,
            then elements are taken to be batches.
    """
    count = 0
    for element in data.as_numpy_iterator() if isinstance(data, tf.data.Dataset) else data():
        if isinstance(data, tf.data.Dataset):
            x = element[0] if isinstance(element, tuple) else element
        else:
            x = _from_litert(element, inputs)
        x = tf.nest.map_structure(np.asarray, x)
        if inputs is not None and leaves(x)[0].ndim == leaves(inputs)[0].shape.rank - 1:
            x = tf.nest.map_structure(lambda leaf: leaf[np.newaxis], x)
        for index in range(len(leaves(x)[0])):
            if count == EXAMPLE_LIMIT:
                return
            count += 1
            yield tf.nest.map_structure(lambda leaf, i=index: leaf[i : i + 1], x)


def evaluation_examples(data: Any) -> Iterator[Any]:
    """Yields the inputs of evaluation data as `representative_examples` does."""
    count = 0
    for x, _, _ in evaluation_batches(data):
        for index in range(len(leaves(x)[0])):
            if count == EXAMPLE_LIMIT:
                return
            count += 1
            yield tf.nest.map_structure(lambda leaf, i=index: leaf[i : i + 1], x)


def synthetic_example(inputs: Any) -> Any:
    """One example made of noise, for when there is no data: whole bytes for integers, [0, 1) for floats.

    Args:
        inputs: structure of `tf.TensorSpec`, batch first and all other sizes known.

    Example:
        >>> synthetic_example(tf.TensorSpec((1, 2, 2, 3), tf.uint8)).shape
        (1, 2, 2, 3)
    """
    random = np.random.default_rng(0)

    def make(spec: tf.TensorSpec) -> np.ndarray:
        shape = [1, *spec.shape[1:]]
        if spec.dtype.is_integer:
            return random.integers(0, min(255, spec.dtype.max), shape, endpoint=True).astype(spec.dtype.as_numpy_dtype)
        return random.uniform(size=shape).astype(spec.dtype.as_numpy_dtype)

    return tf.nest.map_structure(make, inputs)


def leaves(structure: Any) -> list[Any]:
    """The arrays (or specs) of a structure, in TensorFlow's order (dicts by key)."""
    return tf.nest.flatten(structure)


def _from_litert(element: Any, inputs: Any) -> Any:
    if isinstance(element, list | tuple) and len(element) == 1:
        return element[0]
    if isinstance(element, dict) and len(element) == 1 and not isinstance(inputs, dict):
        return next(iter(element.values()))
    if isinstance(element, list | tuple) and inputs is not None:
        return tf.nest.pack_sequence_as(inputs, list(element))
    return element
