"""A model that trains in a second, and is read off data that it can learn."""

from __future__ import annotations

import numpy as np

from segopt_callbacks.compat import keras

CLASSES = 3
EPOCHS = 3


def data(examples=256):
    """Which of three coordinates is the largest."""
    x = np.random.default_rng(0).normal(size=(examples, 8)).astype("float32")
    return x, np.argmax(x[:, :CLASSES], axis=1)


def split():
    """For `search_compression`."""
    x, y = data()
    return {"train": (x[:192], y[:192]), "val": (x[192:], y[192:])}


def build(width=1.0, *, metrics=None, model_class=keras.Sequential):
    """A compiled network of one hidden layer."""
    model = model_class(
        [keras.Input((8,)), keras.layers.Dense(int(32 * width), activation="relu"), keras.layers.Dense(CLASSES)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = ["accuracy"] if metrics is None else metrics
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=metrics)
    return model


def build_narrow():
    """The same without a width."""
    return build()
