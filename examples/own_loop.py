"""A training loop written by hand: the callbacks hear of it from a CallbackList, and the optimizer puts zeros in place.

python own_loop.py
"""

import numpy as np
import tensorflow as tf
from tensorflow import keras

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    ramp_by_epoch,
)

SIZE, BATCH, EPOCHS = 16, 8, 3

# Your data: images in [0, 1], and a class id for each pixel.
images = np.random.default_rng(0).uniform(size=(32, SIZE, SIZE, 3)).astype("float32")
masks = (images.mean(-1) > 0.5).astype("int32")
dataset = tf.data.Dataset.from_tensor_slices((images, masks)).shuffle(32, seed=0).batch(BATCH)

model = keras.Sequential(
    [
        keras.Input((SIZE, SIZE, 3)),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(2, 1),
    ]
)
optimizer = keras.optimizers.Adam(1e-2)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@tf.function
def step(x, y):
    """One update."""
    with tf.GradientTape() as tape:
        loss = loss_of(y, model(x, training=True))
    weights = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
    return loss


# A loop has no data that a callback could see: `evaluation_data` also calibrates the int8 file.
hooks = keras.callbacks.CallbackList(
    [
        PruningScheduleCallback(ramp_by_epoch(0.75, begin=0, end=2)),
        ClusterOnTrainEndCallback(16),
        ExportQuantizedCallback("exported/own_loop", ("float32", "int8"), evaluation_data=(images, masks)),
    ],
    add_history=True,
    model=model,
    epochs=EPOCHS,
    steps=len(dataset),
)
hooks.on_train_begin()
for epoch in range(EPOCHS):
    hooks.on_epoch_begin(epoch)
    for batch, (x, y) in enumerate(dataset):
        hooks.on_train_batch_begin(batch)
        loss = step(x, y)  # traced here, behind on_epoch_begin(0)
        hooks.on_train_batch_end(batch)
    hooks.on_epoch_end(epoch, {"loss": float(loss)})
hooks.on_train_end()  # clusters, exports, and prints the report

print("zeros after each epoch:", model.history.history["sparsity"])
