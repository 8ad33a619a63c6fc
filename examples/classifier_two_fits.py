"""A classifier of keras.applications: its head is trained first, then all of it, pruned and clustered, in a second fit.

python classifier_two_fits.py
"""

import numpy as np
from tensorflow import keras

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    ReestimateBatchNormCallback,
    ramp_by_fraction,
)

SIZE, CLASSES, EPOCHS = 32, 3, 3  # of your own: 224 pixels, your classes, some ten epochs

# Your data: images of 0 to 255, and class ids. Here the brightest channel is the class.
images = np.random.default_rng(0).integers(0, 256, (48, SIZE, SIZE, 3)).astype("float32")
labels = np.arange(48) % CLASSES
images[np.arange(48), :, :, labels] /= 2
train, test = (images[:32], labels[:32]), (images[32:], labels[32:])

# weights="imagenet" downloads the trained backbone; with None it is random.
whole = keras.applications.MobileNet(include_top=False, weights=None, alpha=0.25, input_shape=(SIZE, SIZE, 3))
# Small images take its first blocks only; for large ones use `whole` itself.
backbone = keras.Model(whole.input, whole.get_layer("conv_pw_5_relu").output, name="backbone")
inputs = keras.Input((SIZE, SIZE, 3))
hidden = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))
hidden = keras.layers.GlobalAveragePooling2D()(hidden)
model = keras.Model(inputs, keras.layers.Dense(CLASSES, name="head")(hidden))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

# The first fit: the head alone, dense. What is frozen would not be pruned anyway.
backbone.trainable = False
model.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
model.fit(*train, batch_size=8, epochs=1, verbose=0)

# The second fit: everything, with a small learning rate, while zeros come.
backbone.trainable = True
model.compile(keras.optimizers.Adam(1e-4), loss, metrics=["accuracy"])
export = ExportQuantizedCallback(
    "exported/classifier",
    ("float32", "int8"),
    evaluation_data=test,
    metrics={"accuracy": keras.metrics.SparseCategoricalAccuracy()},
    metadata={"classes": ["red", "green", "blue"]},
)
history = model.fit(
    *train,
    batch_size=8,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[
        PruningScheduleCallback(ramp_by_fraction(0.7, begin=0.0, end=0.6), distribution="erk"),
        ClusterOnTrainEndCallback(16),
        ReestimateBatchNormCallback(train[0]),  # statistics of the network as it is now
        export,
    ],
)

assert export.report is not None  # it is there when the fit has ended
print("zeros after each epoch:", history.history["sparsity"])
print("int8:", export.report["formats"]["int8"]["bytes"], "bytes")
