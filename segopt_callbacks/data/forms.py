"""Evaluation and representative data, in whatever form the user has them -> batches and single examples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.data.batches import Batches, is_sequence
from segopt_callbacks.data.enough import enough

BATCH_SIZE = 16  # of evaluation arrays; a dataset keeps its own
EXAMPLE_LIMIT = 200  # of images; each example is a run of the float model


def as_evaluation_data(data: Any) -> Any:
    """Evaluation data, whatever `fit` takes as `validation_data`, in one of four forms; nothing is read.

    Args:
        data: `x`, `(x, y)` or `(x, y, sample_weight)` of arrays; a `tf.data.Dataset`, `PyDataset`, `Sequence`, loader
            or generator of batches of these.

    Returns:
        `None`, a tuple of arrays, a `tf.data.Dataset`, or `Batches`.

    Raises:
        ValueError: for anything else, for data that have no end or no example, and for arrays of unequal length.

    Example:
        >>> len(as_evaluation_data(np.zeros((2, 4))))
        2
    """
    if data is None or isinstance(data, Batches):
        return data
    if isinstance(data, tf.data.Dataset):
        return _finite_dataset(data)
    if isinstance(data, str | bytes | os.PathLike):
        raise ValueError(
            "`evaluation_data` must be arrays or batches of them, not where they lie; load them, by np.load(...) for "
            f"instance. Received: {data!r}."
        )
    if isinstance(data, np.generic):
        raise ValueError(f"`evaluation_data` must have a batch axis. Received: a number, {data!r}.")
    if hasattr(data, "shape") or isinstance(data, dict):
        data = (data, None)
    if isinstance(data, tuple | list):
        return _even_arrays(data)
    if not is_sequence(data) and not hasattr(data, "__iter__"):
        raise ValueError(
            "`evaluation_data` must be arrays (x, (x, y) or (x, y, sample_weight)), or a tf.data.Dataset, PyDataset, "
            f"Sequence or generator of batches of them. Received: {type(data).__name__}."
        )
    if is_sequence(data) and getattr(data, "num_batches", 0) is None:
        raise ValueError(f"`evaluation_data` must end. Received: {type(data).__name__}, whose num_batches is None.")
    return Batches(data)


def validate_evaluation_data(data: Any) -> None:
    """Checks evaluation data without reading it.

    Raises:
        ValueError: for what `as_evaluation_data` refuses.

    Example:
        >>> validate_evaluation_data((np.zeros((2, 4)), np.zeros(2)))
    """
    as_evaluation_data(data)


def has_targets(data: Any) -> bool:
    """Whether evaluation data hold targets, as far as can be told without reading them."""
    data = as_evaluation_data(data)
    if isinstance(data, tf.data.Dataset):
        return isinstance(data.element_spec, tuple) and len(data.element_spec) > 1
    return isinstance(data, Batches) or (data is not None and any(one is not None for one in leaves(data[1])))


def _finite_dataset(data: tf.data.Dataset) -> tf.data.Dataset:
    if isinstance(data.element_spec, tuple) and len(data.element_spec) not in (1, 2, 3):
        raise ValueError(
            "`evaluation_data` must yield x, (x, y) or (x, y, sample_weight). "
            f"Received: a dataset of {data.element_spec}."
        )
    if int(data.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise ValueError("`evaluation_data` must end; call .take(n) on it. Received: a dataset that repeats forever.")
    return data


def _even_arrays(data: Any) -> tuple[Any, ...]:
    if len(data) not in (1, 2, 3):
        raise ValueError(
            f"`evaluation_data` must be x, (x, y) or (x, y, sample_weight). Received: {type(data).__name__} of "
            f"{len(data)}."
        )
    data = (*data, None) if len(data) == 1 else tuple(data)
    if not leaves(data[0]) or len(leaves(data[0])[0]) == 0:
        raise ValueError("`evaluation_data` must have at least one example. Received: an empty x.")
    lengths = [[len(one) for one in leaves(part) if one is not None] for part in data]
    if len({length for part in lengths for length in part}) != 1:
        names = ("x", "y", "sample_weight")
        parts = [(name, part) for name, part in zip(names, lengths, strict=False) if part]
        told = ", ".join(f"{name} of {' and '.join(map(str, part))}" for name, part in parts)
        raise ValueError(
            f"`evaluation_data` must have as many targets and weights as inputs. Received: {told} examples."
        )
    return data


def evaluation_batches(data: Any, batch_size: int = BATCH_SIZE) -> Iterator[tuple[Any, Any, Any]]:
    """Yields `(x, y, sample_weight)` in batches of NumPy arrays; `None` for what is missing.

    Args:
        data: evaluation data in any form; arrays are cut into batches.
        batch_size: of arrays.

    Example:
        >>> [x.shape for x, _, _ in evaluation_batches((np.zeros((20, 4)), np.zeros(20)))]
        [(16, 4), (4, 4)]
    """
    data = as_evaluation_data(data)
    if isinstance(data, Batches):
        yield from data
        return
    if isinstance(data, tf.data.Dataset):
        for element in data.as_numpy_iterator():
            yield (*(element if isinstance(element, tuple) else (element,)), None, None)[:3]
        return
    arrays = tf.nest.map_structure(lambda one: None if one is None else np.asarray(one), (*data, None)[:3])
    size = len(leaves(arrays[0])[0])
    for start in range(0, size, batch_size):
        stop = min(start + batch_size, size)
        yield tf.nest.map_structure(lambda one, a=start, b=stop: None if one is None else one[a:b], arrays)


def count_batches(data: Any, batch_size: int = BATCH_SIZE) -> int | None:
    """How many batches `evaluation_batches` yields; `None` where that is not known before they are read.

    Example:
        >>> count_batches((np.zeros((20, 4)), np.zeros(20)))
        2
    """
    data = as_evaluation_data(data)
    if isinstance(data, Batches):
        return None
    if isinstance(data, tf.data.Dataset):
        count = int(data.cardinality())
        return count if count >= 0 else None
    return -(-len(leaves(data[0])[0]) // batch_size)


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
    """Yields as many examples as are `enough`, each of batch size 1, in the structure of `inputs`.

    Args:
        data: a callable that yields what LiteRT takes (lists of arrays, or dicts by the input's name, batch first),
            or a dataset of `x` or `(x, y)`, in batches or not.
        inputs: structure of `tf.TensorSpec`, batch first, what the model takes; or `None` if that is not known,
            then elements are taken to be batches.
    """
    return _enough(_representative(data, inputs))


def _representative(data: Any, inputs: Any) -> Iterator[Any]:
    for element in data.as_numpy_iterator() if isinstance(data, tf.data.Dataset) else data():
        if isinstance(data, tf.data.Dataset):
            x = element[0] if isinstance(element, tuple) else element
        else:
            x = _from_litert(element, inputs)
        x = tf.nest.map_structure(np.asarray, x)
        if inputs is not None and leaves(x)[0].ndim == leaves(inputs)[0].shape.rank - 1:
            x = tf.nest.map_structure(lambda leaf: leaf[np.newaxis], x)
        yield from _each(x)


def evaluation_examples(data: Any) -> Iterator[Any]:
    """Yields the inputs of evaluation data as `representative_examples` does."""
    return _enough(example for x, _, _ in evaluation_batches(data) for example in _each(x))


def _each(x: Any) -> Iterator[Any]:
    """The examples of a batch, each of batch size 1."""
    for index in range(len(leaves(x)[0])):
        yield tf.nest.map_structure(lambda leaf, i=index: leaf[i : i + 1], x)


def _enough(examples: Iterator[Any]) -> Iterator[Any]:
    for count, example in enumerate(examples):
        if count >= enough(leaves(example), EXAMPLE_LIMIT):
            return
        yield example


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
