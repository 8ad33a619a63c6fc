"""A model of sound that makes its own spectrogram: the file takes samples, and computes the spectrogram in float.

python audio_spectrogram.py
"""

import numpy as np
import tensorflow as tf
from tensorflow import keras

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    ramp_by_fraction,
)

SAMPLES, RATE, CLASSES, EPOCHS = 2048, 8000, 3, 4  # a quarter of a second

# Your data: samples in [-1, 1], and a class for each sound. Here tones of three heights, in noise.
random = np.random.default_rng(0)
labels = np.arange(48) % CLASSES
time = np.arange(SAMPLES) / RATE
tones = np.sin(2 * np.pi * 500 * 2.0 ** labels[:, None] * time + random.uniform(0, 6, (48, 1)))
sounds = (0.5 * tones + 0.1 * random.normal(size=tones.shape)).astype("float32")


@keras.utils.register_keras_serializable("examples")
class LogSpectrogram(keras.layers.Layer):
    """`(batch, samples)` -> `(batch, frames, frequencies, 1)`, in decades."""

    def call(self, inputs):
        """Frames of 256 samples, each 128 after the one before."""
        spectrum = tf.abs(tf.signal.stft(inputs, frame_length=256, frame_step=128))
        return tf.math.log(spectrum[..., None] + 1e-3)


model = keras.Sequential(
    [
        keras.Input((SAMPLES,)),
        LogSpectrogram(),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(CLASSES),
    ]
)
model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))

# A Fourier transform has no 8-bit form: the mixed file keeps it in float, and names it.
export = ExportQuantizedCallback(
    "exported/audio",
    ("float32", "int8"),
    evaluation_data=(sounds, labels),
    metrics={"accuracy": keras.metrics.SparseCategoricalAccuracy()},
    float_fallback=True,
)
model.fit(
    sounds,
    labels,
    batch_size=8,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[
        PruningScheduleCallback(ramp_by_fraction(0.7, begin=0.0, end=0.6)),
        ClusterOnTrainEndCallback(16),
        export,
    ],
)

assert export.report is not None  # it is there when the fit has ended
print("in float:", *export.report["formats"]["int8"]["float_operations"])
