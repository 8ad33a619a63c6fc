"""Layers and raw operations that training simulates and LiteRT computes in 8 bits: one small model for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.compat import keras

SHAPE = (8, 8, 6)
L = keras.layers


class Raw(keras.Model):
    """A convolution, an operation on tensors, a convolution."""

    def __init__(self, operation: Callable[..., tf.Tensor], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.operation = operation
        self.first = L.Conv2D(6, 3, padding="same")
        self.last = L.Conv2D(4, 1)

    def call(self, inputs):
        return self.last(self.operation(self.first(inputs), inputs))


class Twice(keras.Model):
    """One convolution called at two places, whose ranges differ."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shared = L.Conv2D(6, 3, padding="same")
        self.last = L.Conv2D(4, 1)

    def call(self, inputs):
        hidden = tf.nn.relu(self.shared(inputs)) * 4.0
        return self.last(tf.nn.relu(self.shared(hidden)))


class ReadTwice(keras.Model):
    """What an operation gives is read by a convolution and by what stands beside that."""

    def __init__(self, operation: Callable[[tf.Tensor], tf.Tensor], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.operation = operation
        self.first = L.Conv2D(6, 3, padding="same")
        self.last = L.Conv2D(4, 1)

    def call(self, inputs):
        hidden = self.operation(self.first(inputs))
        return tf.concat([hidden, self.last(hidden)], -1)


class Residual(L.Layer):
    """A custom layer, nested, with normalisations."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = L.Conv2D(6, 3, padding="same", use_bias=False)
        self.normalize = L.BatchNormalization()
        self.second = L.Conv2D(6, 3, padding="same")

    def call(self, inputs, training=None):
        hidden = tf.nn.relu(self.normalize(self.first(inputs), training=training))
        return tf.nn.relu(self.second(hidden) + inputs)


class Nested(keras.Model):
    """A model in a model, a custom layer in that."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = Raw(lambda hidden, inputs: tf.concat([hidden, inputs], -1))
        self.block = Residual()

    def call(self, inputs, training=None):
        return self.inner(self.block(inputs, training=training))


def sequential(*layers: Any, shape: tuple[int, ...] = SHAPE) -> Any:
    return keras.Sequential([keras.Input(shape), *layers])


def shared_layer() -> Any:
    """A functional model that calls one layer twice."""
    inputs = keras.Input(SHAPE)
    layer = L.Conv2D(6, 3, padding="same", activation="relu")
    return keras.Model(inputs, L.Conv2D(4, 1)(L.Add()([layer(inputs), layer(layer(inputs))])))


def masked_attention(hidden: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """Attention along rows, to bright pixels alone."""
    keep = tf.cast(inputs[:, :, None, :, 0] > 0.3507, tf.float32)
    scores = tf.matmul(hidden, inputs, transpose_b=True) + (1.0 - keep) * -1e9
    return tf.matmul(tf.nn.softmax(scores), inputs)


def raw(operation: Callable[..., tf.Tensor]) -> Callable[[], Any]:
    return lambda: Raw(operation)


LAYERS: dict[str, Callable[[], Any]] = {
    "conv1d": lambda: sequential(L.Conv1D(6, 3, activation="relu"), L.Conv1D(4, 3), shape=(16, 6)),
    "conv1d_transposed": lambda: sequential(L.Conv1DTranspose(6, 2, strides=2), L.Conv1D(4, 1), shape=(16, 6)),
    "conv2d": lambda: sequential(L.Conv2D(6, 3, activation="relu"), L.Conv2D(4, 3)),
    "strides": lambda: sequential(L.Conv2D(6, 3, strides=2, padding="same"), L.Conv2D(4, 1)),
    "dilated": lambda: sequential(L.Conv2D(6, 3, dilation_rate=2, padding="same", activation="relu"), L.Conv2D(4, 1)),
    "dilated_batch_norm": lambda: sequential(
        L.Conv2D(6, 3, dilation_rate=2, use_bias=False), L.BatchNormalization(), L.ReLU(), L.Conv2D(4, 1)
    ),
    "dilated_depthwise": lambda: sequential(L.DepthwiseConv2D(3, dilation_rate=2, activation="relu"), L.Conv2D(4, 1)),
    "grouped": lambda: sequential(L.Conv2D(6, 3, groups=3, activation="relu"), L.Conv2D(4, 1)),
    "transposed": lambda: sequential(L.Conv2DTranspose(6, 3, strides=2, padding="same"), L.Conv2D(4, 1)),
    "transposed_relu": lambda: sequential(L.Conv2DTranspose(6, 2, strides=2, activation="relu"), L.Conv2D(4, 1)),
    "transposed_batch_norm": lambda: sequential(
        L.Conv2DTranspose(6, 2, strides=2, use_bias=False), L.BatchNormalization(), L.ReLU(), L.Conv2D(4, 1)
    ),
    "depthwise": lambda: sequential(L.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"), L.Conv2D(4, 1)),
    "separable": lambda: sequential(L.SeparableConv2D(6, 3, activation="relu"), L.Conv2D(4, 1)),
    "separable1d": lambda: sequential(L.SeparableConv1D(6, 3, activation="relu"), L.Conv1D(4, 1), shape=(16, 6)),
    "dense": lambda: sequential(L.Dense(8, activation="relu"), L.Dense(4), shape=(12,)),
    "dense_on_images": lambda: sequential(L.Dense(8, activation="relu"), L.Dense(4)),
    "dense_flattened": lambda: sequential(L.Conv2D(4, 3), L.Flatten(), L.Dense(5)),
    "batch_norm": lambda: sequential(L.Conv2D(6, 3), L.BatchNormalization(), L.ReLU(), L.Conv2D(4, 1)),
    "batch_norm_behind_relu": lambda: sequential(
        L.Conv2D(6, 3, activation="relu"), L.BatchNormalization(), L.Conv2D(4, 1)
    ),
    "batch_norm_first": lambda: sequential(L.BatchNormalization(), L.Conv2D(4, 3)),
    "relu6": lambda: sequential(L.Conv2D(6, 3), L.ReLU(6.0), L.Conv2D(4, 1)),
    "leaky": lambda: sequential(L.Conv2D(6, 3), L.LeakyReLU(), L.Conv2D(4, 1)),
    "gelu": lambda: sequential(L.Conv2D(6, 3, activation="gelu"), L.Conv2D(4, 1)),
    "swish": lambda: sequential(L.Conv2D(6, 3, activation="swish"), L.Conv2D(4, 1)),
    "sigmoid_head": lambda: sequential(L.Conv2D(6, 3, activation="relu"), L.Conv2D(4, 1, activation="sigmoid")),
    "softmax_head": lambda: sequential(L.Conv2D(6, 3, activation="relu"), L.Conv2D(4, 1, activation="softmax")),
    "rescaling": lambda: sequential(L.Rescaling(2.0, -1.0), L.Conv2D(4, 3)),
    "average_pooling": lambda: sequential(L.Conv2D(6, 3), L.AveragePooling2D(2), L.Conv2D(4, 1)),
    "max_pooling": lambda: sequential(L.Conv2D(6, 3), L.MaxPooling2D(), L.Conv2D(4, 1)),
    "global_pooling": lambda: sequential(L.Conv2D(6, 3), L.GlobalAveragePooling2D(), L.Dense(4)),
    "nearest": lambda: sequential(L.Conv2D(6, 3), L.UpSampling2D(), L.Conv2D(4, 1)),
    "bilinear": lambda: sequential(L.Conv2D(6, 3), L.UpSampling2D(interpolation="bilinear"), L.Conv2D(4, 1)),
    "padding": lambda: sequential(L.ZeroPadding2D(1), L.Conv2D(6, 3), L.Cropping2D(1), L.Conv2D(4, 1)),
    "average_pooling_read_twice": lambda: ReadTwice(lambda hidden: tf.nn.avg_pool2d(hidden, 2, 2, "SAME")),
    "average_pooling_last": lambda: sequential(L.Conv2D(6, 3), L.AveragePooling2D(2)),
    "average_pooling_of_concat": lambda: ReadTwice(
        lambda hidden: tf.nn.avg_pool2d(tf.concat([hidden, 3.0 * hidden], -1), 2, 2, "SAME")
    ),
    "max_pooling_read_twice": lambda: ReadTwice(lambda hidden: tf.nn.max_pool2d(hidden, 2, 2, "SAME")),
    "called_twice": Twice,
    "shared": shared_layer,
    "custom_layer": lambda: sequential(Residual(), L.Conv2D(4, 1)),
    "nested": Nested,
    # LiteRT compares in steps of 1/256, and not at all where a step is 1 or more.
    "raw_comparison": raw(lambda hidden, inputs: hidden * tf.cast(inputs > 0.3507, tf.float32)),
    "raw_comparison_of_small": raw(lambda hidden, inputs: hidden * tf.cast(inputs * 0.01 <= 0.003507, tf.float32)),
    "raw_comparison_of_large": raw(lambda hidden, inputs: hidden * tf.cast(inputs * 999 < 350.7, tf.float32)),
    "raw_add": raw(lambda hidden, inputs: hidden + inputs),
    "raw_add_relu": raw(lambda hidden, inputs: tf.nn.relu(hidden + inputs)),
    "raw_subtract": raw(lambda hidden, inputs: hidden - inputs),
    "raw_multiply": raw(lambda hidden, inputs: hidden * inputs),
    "raw_gate": raw(lambda hidden, inputs: tf.sigmoid(hidden) * inputs),
    "raw_concat": raw(lambda hidden, inputs: tf.concat([hidden, inputs], -1)),
    "raw_tanh": raw(lambda hidden, inputs: tf.tanh(hidden)),
    "raw_softmax": raw(lambda hidden, inputs: tf.nn.softmax(hidden)),
    "raw_leaky": raw(lambda hidden, inputs: tf.nn.leaky_relu(hidden, 0.1)),
    "raw_relu6": raw(lambda hidden, inputs: tf.nn.relu6(hidden * 3.0)),
    "raw_resize_bilinear": raw(lambda hidden, inputs: tf.image.resize(hidden, (16, 16))),
    "raw_resize_nearest": raw(lambda hidden, inputs: tf.image.resize(hidden, (16, 16), "nearest")),
    "raw_pools": raw(
        lambda hidden, inputs: tf.nn.avg_pool2d(hidden, 2, 2, "SAME") + tf.nn.max_pool2d(inputs, 2, 2, "SAME")
    ),
    "raw_mean": raw(lambda hidden, inputs: hidden * tf.reduce_mean(hidden, [1, 2], keepdims=True)),
    "raw_scale_and_shift": raw(lambda hidden, inputs: tf.nn.relu(hidden) * 2.0 - 0.5),
    "raw_split": raw(lambda hidden, inputs: tf.concat(tf.split(hidden, 3, -1)[::-1], -1)),
    "raw_maximum": raw(lambda hidden, inputs: tf.maximum(hidden, inputs)),
    "raw_divide": raw(lambda hidden, inputs: hidden / (1.5 + inputs)),
    "raw_attention": raw(
        lambda hidden, inputs: tf.matmul(tf.nn.softmax(tf.matmul(hidden, inputs, transpose_b=True)), inputs)
    ),
    "raw_scaled_attention": raw(
        lambda hidden, inputs: tf.matmul(tf.nn.softmax(tf.matmul(hidden, inputs, transpose_b=True) * 0.35), inputs)
    ),
    "raw_linear_attention": raw(
        lambda hidden, inputs: tf.matmul(tf.nn.relu(tf.matmul(hidden, inputs, transpose_b=True)), inputs)
    ),
    "raw_attention_with_places": raw(
        lambda hidden, inputs: tf.matmul(hidden, inputs, transpose_b=True) + tf.linspace(-1.0, 1.0, 8)
    ),
    "raw_gelu": raw(lambda hidden, inputs: tf.nn.gelu(hidden, approximate=True)),
    "raw_log_softmax": raw(lambda hidden, inputs: tf.nn.log_softmax(hidden)),
    "raw_space_to_depth": raw(lambda hidden, inputs: tf.nn.space_to_depth(hidden, 2)),
    "raw_slice": raw(lambda hidden, inputs: hidden[:, 1:5, ::2]),
    "raw_mirror": raw(lambda hidden, inputs: tf.pad(hidden, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")),
    "raw_largest": raw(lambda hidden, inputs: hidden - tf.reduce_max(hidden, -1, keepdims=True)),
    "raw_log": raw(lambda hidden, inputs: tf.math.log(tf.nn.relu(hidden) + 1e-3)),
    "raw_divide_by_small": raw(
        lambda hidden, inputs: tf.nn.relu(hidden) / (tf.reduce_sum(tf.nn.relu(hidden), -1, keepdims=True) + 1e-3)
    ),
    "raw_divide_by_both_signs": raw(lambda hidden, inputs: inputs / (hidden + 1e-3)),
    "raw_one_over": raw(lambda hidden, inputs: 1.0 / (tf.nn.relu(hidden) + 1e-3)),
    "raw_l2_normalize": raw(lambda hidden, inputs: tf.nn.l2_normalize(tf.nn.relu(hidden), -1)),
    "raw_square": raw(lambda hidden, inputs: tf.square(hidden)),
    "raw_negative": raw(lambda hidden, inputs: -hidden),
    "raw_select": raw(lambda hidden, inputs: tf.where(inputs > 0.5, hidden, inputs)),
    "prelu": lambda: sequential(L.Conv2D(6, 3), L.PReLU(shared_axes=[1, 2]), L.Conv2D(4, 1)),
    "layer_normalization": lambda: sequential(L.Conv2D(6, 3), L.LayerNormalization(epsilon=1e-6), L.Conv2D(4, 1)),
    "raw_masked_attention": raw(masked_attention),
    "raw_transpose": raw(lambda hidden, inputs: tf.transpose(hidden, (0, 2, 1, 3))),
}
# LiteRT has no integer kernel for what these end up with, or the converter knows none: kind of the operation.
FLOAT: dict[str, tuple[str, Callable[[], Any]]] = {
    "conv3d": ("Conv3D", lambda: sequential(L.Conv3D(4, 3), shape=(6, 6, 6, 2))),
    "conv3d_transposed": ("Conv3DBackpropInputV2", lambda: sequential(L.Conv3DTranspose(4, 2), shape=(4, 4, 4, 2))),
    "elu": ("Elu", lambda: sequential(L.Conv2D(6, 3, activation="elu"), L.Conv2D(4, 1))),
    "softplus": ("Softplus", raw(lambda hidden, inputs: tf.nn.softplus(hidden))),
    "sine": ("Sin", raw(lambda hidden, inputs: tf.sin(hidden))),
}


def smooth(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    """`(count, *shape)` of sums along each axis, in [0, 1]."""
    values = np.random.default_rng(seed).normal(size=(count, *shape))
    for axis in range(1, len(shape)):
        values = np.cumsum(values, axis)
    low = values.min(tuple(range(1, len(shape) + 1)), keepdims=True)
    high = values.max(tuple(range(1, len(shape) + 1)), keepdims=True)
    return ((values - low) / (high - low)).astype("float32")
