"""Models for small devices, whose inputs are scaled in every way, and one export of them for several tests."""

import functools

import numpy as np

from segopt_callbacks.compat import keras

BYTES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("uint8")
BYTES[:, 0, 0], BYTES[:, 0, 1] = 0, 255  # calibration is to see every byte's end
TABLE = np.sqrt(np.arange(256) / 255).astype("float32")
FLOATS = (BYTES / 255).astype("float32")
EACH = np.array([0.2, 0.5, 1.0], "float32")


@keras.utils.register_keras_serializable(package="tests")
class Scale(keras.layers.Layer):
    """Scales raw bytes in a way that its name says."""

    def call(self, inputs):
        import tensorflow as tf

        if self.name.startswith("table"):
            return tf.gather(tf.constant(TABLE), tf.cast(inputs, tf.int32))
        x = tf.cast(inputs, tf.float32)
        ways = {
            "fraction": lambda: x / 255.0,
            "centred": lambda: x / 127.5 - 1.0,
            "falling": lambda: 1.0 - x / 255.0,
            "channels": lambda: (x / 255.0 - tf.constant(EACH)) / tf.constant(EACH[::-1].copy()),
        }
        return ways[self.name.removesuffix("_scale")]()


WAYS = ("fraction", "centred", "falling", "channels", "table")


@functools.cache
def every_way():
    """A model with an input for each way, and one of floats; its kernels have five values each, most of them 0."""
    random = np.random.default_rng(1)
    inputs = [keras.Input((16, 16, 3), name=name, dtype="uint8") for name in WAYS]
    inputs.append(keras.Input((16, 16, 3), name="floats"))
    scaled = [Scale(name=f"{name}_scale")(one) for name, one in zip(WAYS, inputs, strict=False)] + inputs[-1:]
    hidden = [
        keras.layers.Conv2D(16, 3, padding="same", activation="relu", name=f"{one.name}_conv")(one_scaled)
        for one, one_scaled in zip(inputs, scaled, strict=True)
    ]
    deep = keras.layers.Concatenate()(hidden)
    deep = keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="deep")(deep)
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1, name="logits")(deep))
    for weight in model.trainable_weights:
        if len(weight.shape) == 4:
            weight.assign(0.1 * random.choice([-2, -1, 1, 2, *(16 * [0])], weight.shape))
    return model, [*(len(WAYS) * [BYTES]), FLOATS]
