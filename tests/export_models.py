"""Small models to export, and their data: raw uint8 images in, logits out."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import cluster_model, compat
from segopt_callbacks.compat import keras

CLASSES = 3
IMAGES = np.random.default_rng(0).integers(0, 256, size=(10, 16, 16, 3), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, CLASSES, size=(10, 16, 16)).astype("int32")
DATA = (IMAGES, LABELS)


class Segmenter(keras.Model):
    """Subclassed: convolution, BatchNorm, ReLU; down, up by a transposed convolution; a skip; a head."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="first")
        self.normalize = keras.layers.BatchNormalization(name="normalize")
        self.relu = keras.layers.ReLU()
        self.down = keras.layers.MaxPooling2D()
        self.up = keras.layers.Conv2DTranspose(8, 2, strides=2, name="up")
        self.join = keras.layers.Concatenate()
        self.drop = keras.layers.Dropout(0.5)
        self.head = keras.layers.Conv2D(CLASSES, 1, dtype="float32", name="head")

    def call(self, inputs, training=None):
        images = tf.cast(inputs, self.compute_dtype) / 255.0
        skip = self.relu(self.normalize(self.first(images), training=training))
        hidden = self.join([skip, self.up(self.down(skip))])
        return self.head(self.drop(hidden, training=training))


class Wavy(Segmenter):
    """Its last step has no int8 kernel in LiteRT: the converter leaves it in float32, without a word."""

    def call(self, inputs, training=None):
        return tf.sin(super().call(inputs, training=training))


class Refused(Segmenter):
    """Its last step is not in LiteRT at all: the converter refuses it."""

    def call(self, inputs, training=None):
        return tf.math.erf(super().call(inputs, training=training))


def functional() -> Any:
    """The same kind of model, functional, of float images."""
    inputs = keras.Input((16, 16, 3))
    hidden = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(hidden))
    return keras.Model(inputs, keras.layers.Conv2D(CLASSES, 1)(hidden))


def built(make: Any = Segmenter, images: np.ndarray = IMAGES) -> Any:
    """A model with weights, and moving averages that are not the initial ones."""
    model = make()
    model(images[:1])
    random = np.random.default_rng(3)
    for weight in model.weights:
        if len(weight.shape) == 1:
            compat.assign(weight, random.uniform(0.5, 1.5, weight.shape))
    return model


def pruned(model: Any, sparsity: float) -> Any:
    """The model with the smallest weights of every kernel set to zero."""
    for weight in model.weights:
        if len(weight.shape) > 1:
            value = compat.read(weight)
            threshold = np.sort(np.abs(value), axis=None)[int(np.ceil(sparsity * value.size)) - 1]
            compat.assign(weight, np.where(np.abs(value) <= threshold, 0, value))
    return model


def compressed() -> Any:
    """A model with 80% zeros and 16 distinct values in each kernel."""
    model = pruned(built(), 0.8)
    cluster_model(model, 16)
    return model


def answers(model: Any, images: np.ndarray = IMAGES) -> np.ndarray:
    return np.asarray(model(images, training=False))


def state(model: Any) -> list[np.ndarray]:
    return [compat.read(weight).copy() for weight in model.weights]


def fitted(model: Any, *callbacks: Any) -> Any:
    """The model after an epoch that changes next to nothing, with callbacks."""
    model.compile(keras.optimizers.SGD(1e-9), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*DATA, batch_size=5, verbose=0, callbacks=list(callbacks))
    return model
