"""The blocks of the U-Net, subclassed layers that build all of their children."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.compat import keras
from train_unet.normalization import FusedBatchNormalization

Layer: Any = keras.layers.Layer
Shape = tuple[int | None, ...]

UPSAMPLINGS = ("bilinear", "transposed")
MEAN, DEVIATION = 0.42, 0.2  # of the square root of intensities in [0, 1], over satellite images
TABLE = (np.sqrt(np.arange(256) / 255.0) - MEAN) / DEVIATION


def build_child(layer: Any, shape: Shape | list[Shape]) -> None:
    """Builds a layer's child under the child's name; Keras 2 names variables after the scope they are made in.

    Args:
        layer: the child.
        shape: of its input, the batch first; a list of shapes for several inputs.
    """
    with tf.name_scope(layer.name):
        layer.build(shape)


@keras.utils.register_keras_serializable(package="train_unet")
class Standardize(Layer):
    """Raw images -> about zero mean and unit deviation: `(sqrt(x / 255) - 0.42) / 0.2`.

    The square root evens out the dark majority of satellite pixels. Bytes are looked up in a table of all 256 results:
    a fully quantized LiteRT model starts at the raw bytes, without a float operation. Floats are computed, by
    operations that have int8 kernels too.

    >>> [round(float(one), 2) for one in Standardize()(tf.constant([0, 255], tf.uint8))]
    [-2.1, 2.9]
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`inputs`: any shape, values in [0, 255], uint8 or floating. Returns: the same shape, the compute dtype."""
        if inputs.dtype == "uint8":
            return tf.gather(tf.constant(TABLE, self.compute_dtype), tf.cast(inputs, tf.int32))
        intensity = tf.cast(inputs, tf.float32) / 255.0  # float16 would lose dark pixels
        return tf.cast((tf.sqrt(intensity) - MEAN) / DEVIATION, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the input."""
        return input_shape


@keras.utils.register_keras_serializable(package="train_unet")
class ConvBlock(Layer):
    """Two times: 3x3 convolution, batch normalisation, ReLU.

    Args:
        filters: output channels of both convolutions.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.conv_1 = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name="conv_1")
        self.norm_1 = FusedBatchNormalization(name="norm_1")
        self.relu_1 = keras.layers.ReLU(name="relu_1")
        self.conv_2 = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name="conv_2")
        self.norm_2 = FusedBatchNormalization(name="norm_2")
        self.relu_2 = keras.layers.ReLU(name="relu_2")

    def build(self, input_shape: Shape) -> None:
        """Builds the children. `input_shape`: `(batch, height, width, channels)`."""
        shape = (*input_shape[:-1], self.filters)
        build_child(self.conv_1, tuple(input_shape))
        for layer in (self.norm_1, self.relu_1, self.conv_2, self.norm_2, self.relu_2):
            build_child(layer, shape)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """`inputs`: `(batch, height, width, channels)`. Returns: `(batch, height, width, filters)`."""
        x = self.relu_1(self.norm_1(self.conv_1(inputs), training=training))
        return self.relu_2(self.norm_2(self.conv_2(x), training=training))

    def get_config(self) -> dict[str, Any]:
        """The arguments that remake this block."""
        return {**super().get_config(), "filters": self.filters}


@keras.utils.register_keras_serializable(package="train_unet")
class EncoderBlock(Layer):
    """Convolutions, then half the resolution.

    Args:
        filters: output channels.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.convs = ConvBlock(filters, name="convs")
        self.pool = keras.layers.MaxPooling2D(2, name="pool")

    def build(self, input_shape: Shape) -> None:
        """Builds the children. `input_shape`: `(batch, height, width, channels)`."""
        build_child(self.convs, tuple(input_shape))
        build_child(self.pool, (*input_shape[:-1], self.filters))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """`inputs`: `(batch, height, width, channels)`.

        Returns: the skip connection `(batch, height, width, filters)` and the input of the next level
        `(batch, height / 2, width / 2, filters)`.
        """
        skip = self.convs(inputs, training=training)
        return skip, self.pool(skip)

    def get_config(self) -> dict[str, Any]:
        """The arguments that remake this block."""
        return {**super().get_config(), "filters": self.filters}


@keras.utils.register_keras_serializable(package="train_unet")
class DecoderBlock(Layer):
    """Twice the resolution, the skip connection beside it, then convolutions.

    Args:
        filters: output channels.
        upsampling: `"bilinear"` (no weights) or `"transposed"` (a learned 2x2 transposed convolution).
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, filters: int, upsampling: str = "bilinear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if upsampling not in UPSAMPLINGS:
            raise ValueError(
                f"`upsampling` must be one of {', '.join(UPSAMPLINGS)}. Received: upsampling={upsampling!r}."
            )
        self.filters = filters
        self.upsampling = upsampling
        if upsampling == "bilinear":
            # XLA's gradient of the resize is float32 whatever its input, so that float16 would not compile.
            self.up = keras.layers.UpSampling2D(2, interpolation="bilinear", dtype="float32", name="up")
        else:
            self.up = keras.layers.Conv2DTranspose(filters, 2, strides=2, name="up")
        self.join = keras.layers.Concatenate(name="join")
        self.convs = ConvBlock(filters, name="convs")

    def build(self, input_shape: list[Shape]) -> None:
        """Builds the children. `input_shape`: of the level below and of the skip connection."""
        below, skip = (tuple(shape) for shape in input_shape)
        build_child(self.up, below)
        raised = (*skip[:-1], below[-1] if self.upsampling == "bilinear" else self.filters)
        build_child(self.join, [raised, skip])
        build_child(self.convs, (*skip[:-1], raised[-1] + skip[-1]))  # type: ignore[operator]
        self.built = True

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """`inputs`: `(batch, height / 2, width / 2, deep)` and `(batch, height, width, skip)`.

        Returns: `(batch, height, width, filters)`.
        """
        below, skip = inputs
        return self.convs(self.join([self.up(below), skip]), training=training)

    def get_config(self) -> dict[str, Any]:
        """The arguments that remake this block."""
        return {**super().get_config(), "filters": self.filters, "upsampling": self.upsampling}
