"""A U-Net written with the functional API: pruned, clustered, and trained against the rounding of its int8 file.

python functional_unet.py
"""

import numpy as np
from tensorflow import keras

from segopt_callbacks import (
    ClusterScheduleCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    QuantizationAwareTrainingCallback,
    ramp_by_fraction,
)

SIZE, CLASSES, FILTERS = 32, 2, (8,)  # of your own: 256 pixels, and (16, 32, 64, 128) filters going down
BATCH, EPOCHS = 8, 6

# Your data: images in [0, 1], and a class id for each pixel. Here bright pixels are of class 1.
images = np.random.default_rng(0).uniform(size=(40, SIZE, SIZE, 3)).astype("float32")
masks = (images.mean(-1) > 0.5).astype("int32")
train, test = (images[:32], masks[:32]), (images[32:], masks[32:])


def block(hidden, filters):
    """Two convolutions, each normalised."""
    for _ in range(2):
        hidden = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(hidden)
        hidden = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.7)(hidden))
    return hidden


inputs = keras.Input((SIZE, SIZE, 3))
hidden, skips = inputs, []
for filters in FILTERS:
    skips.append(block(hidden, filters))
    hidden = keras.layers.MaxPooling2D()(skips[-1])
hidden = block(hidden, 2 * FILTERS[-1])
for filters, skip in zip(reversed(FILTERS), reversed(skips), strict=True):
    hidden = keras.layers.UpSampling2D(interpolation="bilinear")(hidden)
    hidden = block(keras.layers.Concatenate()([hidden, skip]), filters)
model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 1, name="head")(hidden))
model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))

# Steps count from the begin of the fit: zeros first, shared values at half of it, rounding in the second half.
steps = EPOCHS * len(train[0]) // BATCH
quantization = QuantizationAwareTrainingCallback(begin_step=steps // 2)
export = ExportQuantizedCallback(
    "exported/unet",
    ("saved_model", "float32", "int8"),
    evaluation_data=test,
    metrics={"miou": keras.metrics.MeanIoU(CLASSES, sparse_y_pred=False)},
)
model.fit(
    *train,
    batch_size=BATCH,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[
        PruningScheduleCallback(ramp_by_fraction(0.8, begin=0.0, end=0.5), distribution="erk"),
        ClusterScheduleCallback(16, begin_step=steps // 2),
        quantization,
        export,
    ],
)

assert export.report is not None  # it is there when the fit has ended
print("range of the input:", quantization.ranges["input_0"])
print("ranges of int8:", export.report["formats"]["int8"]["ranges"])
