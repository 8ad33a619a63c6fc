"""Datasets that show what is read from them, on its way, on the host and outside of a compiled step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

Look = Callable[..., int]


def watched(dataset: tf.data.Dataset, look: Look) -> tf.data.Dataset:
    """A dataset of the same elements, that shows the inputs of each batch.

    Args:
        dataset: of batches as `fit` takes them: inputs, or a tuple of them and more.
        look: `(passed, *arrays) -> wait`, of the inputs: `passed` is 0, what is returned counts for nothing. It must
            not keep the arrays, which are TensorFlow's own memory, and must not raise.
    """
    return _mapped(dataset, lambda leaves: _call(look, 0, leaves))


def watched_last(dataset: tf.data.Dataset, look: Look) -> tf.data.Dataset:
    """As `watched`, but a batch is shown only when the fit asks for it, and only if it need be.

    What reads ahead does so before. `look` returns how many examples to let pass, and is told how many have, so that
    Python is called for few batches of a long fit. TensorFlow itself prefetches behind what is last, where that does
    not read ahead.
    """
    show = _sparing(dataset, look)
    before = dataset.options()
    rewrites = before.experimental_optimization
    if False in (before.autotune.enabled, rewrites.apply_default_optimizations, rewrites.inject_prefetch):
        return _mapped(dataset, show)
    last = dataset
    while type(last).__name__ == "_OptionsDataset":
        last = last._input_dataset
    if "Prefetch" not in type(last).__name__:
        dataset = dataset.prefetch(tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    return _mapped(dataset, show).with_options(options)


def _mapped(dataset: tf.data.Dataset, show: Callable[[list[tf.Tensor]], None]) -> tf.data.Dataset:
    is_unpacked = type(dataset.element_spec) is tuple  # named tuples are handed over whole

    @tf.autograph.experimental.do_not_convert
    def shown(*arguments: Any) -> Any:
        element = arguments if is_unpacked else arguments[0]
        show(tf.nest.flatten(element[0] if isinstance(element, tuple) else element))
        return element

    return dataset.map(shown)


def _sparing(dataset: tf.data.Dataset, look: Look) -> Callable[[list[tf.Tensor]], None]:
    """Shows those batches that must be shown; all of them where variables would belong to a strategy."""
    if tf.distribute.has_strategy():
        return lambda leaves: _call(look, 0, leaves)
    with tf.device("CPU:0"):
        passed, wait = (tf.Variable(0, trainable=False, dtype=tf.int64) for _ in range(2))

    def show(leaves: list[tf.Tensor]) -> None:
        if leaves[0].shape.rank is None:  # perhaps no batch at all
            _call(look, 0, leaves)
            return
        size = tf.shape(leaves[0], tf.int64)[0]

        def look_at_them() -> tf.Tensor:
            told = _call(look, passed, leaves)
            with tf.control_dependencies([told]):
                return tf.group(wait.assign(told), passed.assign(0))

        tf.cond(passed + size <= wait, lambda: tf.group(passed.assign_add(size)), look_at_them)

    return show


def _call(look: Look, passed: Any, leaves: list[tf.Tensor]) -> tf.Tensor:
    return tf.numpy_function(lambda *arguments: np.int64(look(*arguments)), [passed, *leaves], tf.int64)
