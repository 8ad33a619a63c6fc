"""A U-Net out of nested subclassed blocks: raw images in, logits out.

The same source runs under Keras 3 and, with `TF_USE_LEGACY_KERAS=1`, under `tf_keras`.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from segopt_callbacks.compat import keras

Layer: Any = keras.layers.Layer
Model: Any = keras.Model
Shape = tuple[int | None, ...]

UPSAMPLINGS = ("bilinear", "transposed")
MEAN, DEVIATION = 0.42, 0.2  # of the square root of intensities in [0, 1], over satellite images


def _build(layer: Any, shape: Shape) -> None:
    """Builds a child under its own name; Keras 2 names variables after the scope they are made in."""
    with tf.name_scope(layer.name):
        layer.build(shape)


@keras.utils.register_keras_serializable(package="train_unet")
class Standardize(Layer):
    """Raw images -> about zero mean and unit deviation: `(sqrt(x / 255) - 0.42) / 0.2`.

    The square root evens out the dark majority of satellite pixels. Each of these operations has an int8 kernel in
    LiteRT, so that a fully quantized model starts at the raw bytes.

    >>> Standardize()(tf.constant([[0, 255]], tf.uint8)).numpy().round(2).tolist()
    [[-2.1, 2.9]]
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """`inputs`: any shape, values in [0, 255], any dtype. Returns: the same shape, the compute dtype."""
        intensity = tf.cast(inputs, tf.float32) / 255.0  # float16 would lose dark pixels
        return tf.cast((tf.sqrt(intensity) - MEAN) / DEVIATION, self.compute_dtype)


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
        self.norm_1 = keras.layers.BatchNormalization(name="norm_1")
        self.relu_1 = keras.layers.ReLU(name="relu_1")
        self.conv_2 = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name="conv_2")
        self.norm_2 = keras.layers.BatchNormalization(name="norm_2")
        self.relu_2 = keras.layers.ReLU(name="relu_2")

    def build(self, input_shape: Shape) -> None:
        """Builds the children. `input_shape`: `(batch, height, width, channels)`."""
        shape = (*input_shape[:-1], self.filters)
        _build(self.conv_1, tuple(input_shape))
        for layer in (self.norm_1, self.relu_1, self.conv_2, self.norm_2, self.relu_2):
            _build(layer, shape)
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
        _build(self.convs, tuple(input_shape))
        _build(self.pool, (*input_shape[:-1], self.filters))
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
            self.up = keras.layers.UpSampling2D(2, interpolation="bilinear", name="up")
        else:
            self.up = keras.layers.Conv2DTranspose(filters, 2, strides=2, name="up")
        self.join = keras.layers.Concatenate(name="join")
        self.convs = ConvBlock(filters, name="convs")

    def build(self, input_shape: list[Shape]) -> None:
        """Builds the children. `input_shape`: of the level below and of the skip connection."""
        below, skip = (tuple(shape) for shape in input_shape)
        _build(self.up, below)
        raised = (*skip[:-1], below[-1] if self.upsampling == "bilinear" else self.filters)
        _build(self.join, [raised, skip])  # type: ignore[arg-type]
        _build(self.convs, (*skip[:-1], raised[-1] + skip[-1]))  # type: ignore[operator]
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


@keras.utils.register_keras_serializable(package="train_unet")
class UNet(Model):
    """U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597) with padded convolutions and BatchNorm.

    Args:
        classes: output channels, at least 2.
        base_filters: channels at full resolution; each level below has twice as many. Multiples of 8 are fastest.
        levels: resolutions, the full one included; height and width must divide by `2 ** (levels - 1)`.
        upsampling: `"bilinear"` or `"transposed"`.
        **kwargs: of `keras.Model`.

    Raises:
        ValueError: for an argument outside its range.

    Example:
        >>> model = UNet(classes=4, base_filters=8, levels=3)
        >>> model(tf.zeros([1, 32, 32, 3], tf.uint8)).shape.as_list()
        [1, 32, 32, 4]
    """

    def __init__(
        self, classes: int, base_filters: int = 16, *, levels: int = 4, upsampling: str = "bilinear", **kwargs: Any
    ) -> None:
        super().__init__(**{"name": "unet", **kwargs})
        for name, value, least in (("classes", classes, 2), ("base_filters", base_filters, 1), ("levels", levels, 2)):
            if value < least:
                raise ValueError(f"`{name}` must be at least {least}. Received: {name}={value}.")
        self.classes, self.base_filters, self.levels, self.upsampling = classes, base_filters, levels, upsampling
        widths = [base_filters * 2**level for level in range(levels)]
        self.standardize = Standardize(name="standardize")
        self.encoders = [EncoderBlock(width, name=f"encoder_{i}") for i, width in enumerate(widths[:-1])]
        self.bottom = ConvBlock(widths[-1], name="bottom")
        self.decoders = [
            DecoderBlock(width, upsampling, name=f"decoder_{i}") for i, width in reversed([*enumerate(widths[:-1])])
        ]
        # Logits stay float32 under mixed precision: float16 overflows in the loss.
        self.head = keras.layers.Conv2D(classes, 1, dtype="float32", name="head")

    @property
    def multiple(self) -> int:
        """What height and width must divide by, in pixels."""
        return 2 ** (self.levels - 1)

    def build(self, input_shape: Shape) -> None:
        """Makes every variable. `input_shape`: `(batch, height, width, 3)`, each but the last may be `None`.

        Raises:
            ValueError: for a height or width that does not halve often enough.
        """
        batch, height, width, channels = input_shape
        for name, size in (("height", height), ("width", width)):
            if size is not None and size % self.multiple:
                raise ValueError(
                    f"The {name} must divide by {self.multiple} with levels={self.levels}; crop the images or lower "
                    f"`levels`. Received: {name}={size}."
                )
        # The trailing slash makes the scope absolute, so that names are alike whether build or call comes first.
        with tf.name_scope(f"{self.name}/"):
            _build(self.standardize, (batch, height, width, channels))
            shape: Shape = (batch, height, width, channels)
            skips: list[Shape] = []
            for encoder in self.encoders:
                _build(encoder, shape)
                skips.append((*shape[:-1], encoder.filters))
                shape = (batch, _half(shape[1]), _half(shape[2]), encoder.filters)
            _build(self.bottom, shape)
            shape = (*shape[:-1], self.bottom.filters)
            for decoder, skip in zip(self.decoders, reversed(skips), strict=True):
                _build(decoder, [shape, skip])  # type: ignore[arg-type]
                shape = (*skip[:-1], decoder.filters)
            _build(self.head, shape)
        self._build_shape = tuple(input_shape)
        self.built = True

    def get_build_config(self) -> dict[str, Any] | None:
        """What loading a saved model builds it with; Keras 2 keeps no shape of a model that builds itself."""
        return {"input_shape": self._build_shape} if self.built else None

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """`inputs`: `(batch, height, width, 3)`, raw, in [0, 255]. Returns: `(batch, height, width, classes)`."""
        x = self.standardize(inputs)  # (batch, height, width, 3)
        skips = []
        for encoder in self.encoders:
            skip, x = encoder(x, training=training)  # level i: (.., height / 2^i, .., base * 2^i), x half of it
            skips.append(skip)
        x = self.bottom(x, training=training)  # (batch, height / multiple, width / multiple, base * multiple)
        for decoder, skip in zip(self.decoders, reversed(skips), strict=True):
            x = decoder([x, skip], training=training)  # the skip's shape
        return self.head(x)  # (batch, height, width, classes)

    def get_config(self) -> dict[str, Any]:
        """The arguments that remake this model."""
        return {
            **super().get_config(),
            "classes": self.classes,
            "base_filters": self.base_filters,
            "levels": self.levels,
            "upsampling": self.upsampling,
        }

    def serving_function(self, image_size: tuple[int, int], *, batch_size: int = 1) -> Any:
        """The model for inference, with a static signature.

        Args:
            image_size: height and width, in pixels.
            batch_size: images in each call.

        Returns:
            a `tf.function` from `(batch_size, height, width, 3)` uint8 to float32 logits
            `(batch_size, height, width, classes)`.
        """
        signature = tf.TensorSpec((batch_size, *image_size, 3), tf.uint8, name="images")

        @tf.function(input_signature=[signature])
        def serve(images: tf.Tensor) -> tf.Tensor:
            return self(images, training=False)

        return serve


def _half(size: int | None) -> int | None:
    return None if size is None else size // 2
