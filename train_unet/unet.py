"""A U-Net out of nested subclassed blocks: raw images in, logits out.

The same source runs under Keras 3 and, with `TF_USE_LEGACY_KERAS=1`, under `tf_keras`.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from segopt_callbacks.compat import keras
from train_unet.blocks import ConvBlock, DecoderBlock, EncoderBlock, Shape, Standardize, build_child

Model: Any = keras.Model


@keras.utils.register_keras_serializable(package="train_unet")
class UNet(Model):
    """U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597) with padded convolutions and BatchNorm.

    Args:
        classes: output channels, at least 2.
        base_filters: channels at full resolution. Multiples of 8 are fastest.
        levels: resolutions, the full one included; height and width must divide by `2 ** (levels - 1)`.
        growth: how many times as many channels each level below has; 1 makes it a Lean U-Net, of constant width
            (https://arxiv.org/abs/2512.03834).
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
        self,
        classes: int,
        base_filters: int = 16,
        *,
        levels: int = 4,
        growth: int = 2,
        upsampling: str = "bilinear",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "unet", **kwargs})
        given = (
            ("classes", classes, 2),
            ("base_filters", base_filters, 1),
            ("levels", levels, 2),
            ("growth", growth, 1),
        )
        for name, value, least in given:
            if value < least:
                raise ValueError(f"`{name}` must be at least {least}. Received: {name}={value}.")
        self.classes, self.base_filters, self.levels = classes, base_filters, levels
        self.growth, self.upsampling = growth, upsampling
        widths = [base_filters * growth**level for level in range(levels)]
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
            build_child(self.standardize, (batch, height, width, channels))
            shape: Shape = (batch, height, width, channels)
            skips: list[Shape] = []
            for encoder in self.encoders:
                build_child(encoder, shape)
                skips.append((*shape[:-1], encoder.filters))
                shape = (batch, _half(shape[1]), _half(shape[2]), encoder.filters)
            build_child(self.bottom, shape)
            shape = (*shape[:-1], self.bottom.filters)
            for decoder, skip in zip(self.decoders, reversed(skips), strict=True):
                build_child(decoder, [shape, skip])
                shape = (*skip[:-1], decoder.filters)
            build_child(self.head, shape)
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
            skip, x = encoder(x, training=training)  # level i: (.., height / 2^i, .., base * growth^i), x half of it
            skips.append(skip)
        x = self.bottom(x, training=training)  # (batch, height / multiple, width / multiple, its filters)
        for decoder, skip in zip(self.decoders, reversed(skips), strict=True):
            x = decoder([x, skip], training=training)  # the skip's shape
        return self.head(x)  # (batch, height, width, classes)

    def get_config(self) -> dict[str, Any]:
        """The arguments that remake this model."""
        return {
            **super().get_config(),
            "name": self.name,  # Keras 2 leaves it out
            "classes": self.classes,
            "base_filters": self.base_filters,
            "levels": self.levels,
            "growth": self.growth,
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
