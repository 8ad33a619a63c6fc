"""Batch normalisation in one operation; Keras 3 takes a dozen, and a third of a training step's time, for it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from segopt_callbacks.compat import is_keras_2, keras


@keras.utils.register_keras_serializable(package="train_unet")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` of images, trained by TensorFlow's fused operation as Keras 2 does by itself.

    The answers are the same. The moving variance takes the batch's variance over `n - 1` values instead of `n`.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, **kwargs: Any) -> tf.Tensor:
        """`inputs`: `(batch, height, width, channels)`. Returns: the same shape."""
        if not training or not self.trainable or is_keras_2(self):
            return super().call(inputs, training=training, **kwargs)
        empty = tf.constant([], tf.float32)  # in training, statistics are those of the batch
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=empty,
            variance=empty,
            epsilon=self.epsilon,
        )
        for moving, fresh in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + fresh * (1.0 - self.momentum))
        return outputs
