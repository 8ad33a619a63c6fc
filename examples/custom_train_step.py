"""A model with a train_step of its own (mixup: it learns from sums of two images), pruned 2 of 4 as ever.

python custom_train_step.py
"""

import numpy as np
import tensorflow as tf
from tensorflow import keras

from segopt_callbacks import ExportQuantizedCallback, PruningScheduleCallback, n_of_m

SIZE, CLASSES, EPOCHS = 16, 3, 4

# Your data: images in [0, 1], and one-hot classes. Here the darkest channel is the class.
images = np.random.default_rng(0).uniform(size=(48, SIZE, SIZE, 3)).astype("float32")
labels = np.eye(CLASSES, dtype="float32")[np.arange(48) % CLASSES]
images *= 1 - labels[:, None, None, :] / 2


class Mixup(keras.Model):
    """A small classifier that is trained on mixed pairs (Zhang et al. 2018)."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.stem = keras.layers.Conv2D(16, 3, strides=2, activation="relu", name="stem")
        self.body = keras.layers.Conv2D(32, 3, strides=2, activation="relu", name="body")
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.head = keras.layers.Dense(CLASSES, name="head")

    def call(self, inputs):
        return self.head(self.pool(self.body(self.stem(inputs))))

    def train_step(self, data):
        x, y = data
        share = tf.random.uniform([], 0.5, 1.0)
        x = share * x + (1 - share) * x[::-1]
        y = share * y + (1 - share) * y[::-1]
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        weights = self.trainable_variables
        # Zeros are put in place by the optimizer: nothing of the callbacks is in this step.
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


model = Mixup()
model.compile(keras.optimizers.Adam(1e-2), keras.losses.CategoricalCrossentropy(from_logits=True))
export = ExportQuantizedCallback(
    "exported/mixup",
    ("float32", "dynamic_int8", "int8"),
    evaluation_data=(images, labels),
    metrics={"accuracy": keras.metrics.CategoricalAccuracy()},
)
model.fit(
    images,
    labels,
    batch_size=8,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[
        PruningScheduleCallback(0.5, "body|head", pattern=n_of_m(2, 4)),  # the stem stays dense
        export,
    ],
)

assert export.report is not None  # it is there when the fit has ended
for row in export.report["formats"]["int8"]["weights"]:
    print(row["weight"], row["zeros"], "zeros of", row["elements"])
