"""How long training waits for its input."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.compat import Callback


class InputWait(Callback):
    """Measures which fraction of the training steps' time is spent waiting for a batch, and tells when training ends.

    It stays out of the logs of epochs, which exported files tell: two runs with one seed are to give the same files.
    Near 0 the input keeps up. Near 1 the model waits: train on smaller files, or with more CPUs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waited = 0.0
        self._begun = 0.0
        self._ended = 0.0
        self._trained = 0.0

    @property
    def fraction(self) -> float:
        """Of the time of all training steps so far, in [0, 1]; validation and the work between epochs do not count."""
        return min(self._waited / max(self._trained, 1e-9), 1.0)

    def watch(self, data: tf.data.Dataset) -> tf.data.Dataset:
        """The same batches; the time from the request of each to its arrival is counted.

        Args:
            data: ends with its own `prefetch`, for nothing prefetches behind the clock.
        """
        clock = tf.data.Dataset.counter().map(lambda _: tf.timestamp())  # `zip` asks for it first

        def arrived(asked: tf.Tensor, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            (done,) = tf.numpy_function(self._count, [tf.timestamp() - asked], [tf.int64])
            with tf.control_dependencies([done]):
                return tf.nest.map_structure(tf.identity, batch)

        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False
        watched = tf.data.Dataset.zip((clock, data)).map(arrived)
        return watched.apply(tf.data.experimental.assert_cardinality(len(data))).with_options(options)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begun = self._ended = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._ended = time.monotonic()  # validation comes behind the last batch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._trained += self._ended - self._begun

    def on_train_end(self, logs: Any = None) -> None:
        print(f"Training waited for its input during {self.fraction:.3f} of its steps' time.")

    def _count(self, seconds: np.ndarray) -> np.int64:
        self._waited += float(seconds)
        return np.int64(0)
