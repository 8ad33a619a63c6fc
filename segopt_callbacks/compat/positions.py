"""Where in its data a `fit` begins: a fit that goes on must read the batches that the one before would have read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from segopt_callbacks.compat.fitting import training_data
from segopt_callbacks.compat.kerases import is_keras_2


def begin_data_at(model: Any, epoch: int, batch: int, *, fits_before: int = 0, epochs: int = 0) -> None:
    """Makes the `fit` that calls us now read its data from this place on, as if it had read all of it before.

    To be called in `on_train_begin`; `fit` needs `initial_epoch=epoch` besides. A dataset that is shuffled anew for
    each epoch draws when an iterator is made. So as many iterators are made as the epochs before would have, and left.
    Batches of the epoch that begins are read and left: nothing else knows which come behind them.

    Args:
        model: in `fit`, whose data is a `tf.data.Dataset` of known length.
        epoch: to begin in, from 0.
        batch: of that epoch to begin with, from 0; hooks count from there.
        fits_before: whole fits over the same dataset, of `epochs` each, that this process has not run.
        epochs: of each of those.

    Raises:
        RuntimeError: for a batch above 0, under one of the first releases of Keras 3.
    """
    owner, name = training_data(model)
    dataset = getattr(owner, name)
    an_epoch = 1 if is_keras_2(model) else 2  # Keras 3 makes one at the end of each epoch, and another at its begin
    looks_ahead = is_keras_2(model) or type(model.distribute_strategy) is not type(tf.distribute.get_strategy())
    a_fit = looks_ahead + epochs * an_epoch  # Keras 3 sees the shapes of a batch first, under a strategy
    for _ in range(fits_before * a_fit + epoch * an_epoch):
        iter(dataset)
    if batch:
        (_begin_inside_keras_2 if is_keras_2(model) else _begin_inside)(owner, batch)


def _begin_inside(epoch_iterator: Any, batch: int) -> None:
    steps = getattr(epoch_iterator, "_enumerate_iterator", None)
    if steps is None:
        raise RuntimeError(
            "A fit that goes on inside an epoch needs a newer Keras 3; install the newest, or begin anew. "
            f"Received: batch={batch} of an epoch, and a Keras whose fit lacks `_enumerate_iterator`."
        )

    def rest_of_epoch() -> Iterator[Any]:
        del epoch_iterator._enumerate_iterator  # the epochs behind it are whole
        epoch = steps()
        for *_, iterator in itertools.islice(epoch, batch):
            next(iterator)
        yield from epoch

    epoch_iterator._enumerate_iterator = rest_of_epoch


def _begin_inside_keras_2(data_handler: Any, batch: int) -> None:
    epochs = data_handler.enumerate_epochs

    def from_inside() -> Iterator[Any]:
        for epoch, iterator in epochs():
            if epoch == data_handler._initial_epoch:
                for _ in range(batch):
                    next(iterator)
                data_handler._initial_step = batch
            yield epoch, iterator

    data_handler.enumerate_epochs = from_inside
