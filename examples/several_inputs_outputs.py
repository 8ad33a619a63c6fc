"""Two inputs and two outputs by name: an image and what is known of it; a class for each pixel, and a number.

python several_inputs_outputs.py
"""

import numpy as np
from tensorflow import keras

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    ramp_by_fraction,
)

SIZE, EPOCHS = 16, 4

# Your data, by the names of inputs and outputs. Here: images, and the height and hour at which they were taken.
random = np.random.default_rng(0)
x = {
    "image": random.uniform(size=(32, SIZE, SIZE, 3)).astype("float32"),
    "known": random.uniform(size=(32, 2)).astype("float32"),
}
y = {
    "mask": (x["image"].mean(-1) > 0.5).astype("int32"),
    "share": x["image"].mean((1, 2, 3)) + x["known"].mean(-1),
}

image = keras.Input((SIZE, SIZE, 3), name="image")
known = keras.Input((2,), name="known")
hidden = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="stem")(image)
told = keras.layers.Reshape((1, 1, 16))(keras.layers.Dense(16, name="tell")(known))
hidden = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="body")(keras.layers.Add()([hidden, told]))
mask = keras.layers.Conv2D(2, 1, name="mask")(hidden)
pooled = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(hidden), known])
share = keras.layers.Dense(1, name="share")(pooled)
model = keras.Model({"image": image, "known": known}, {"mask": mask, "share": share})
model.compile(
    keras.optimizers.Adam(1e-2),
    {"mask": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "share": "mse"},
)

export = ExportQuantizedCallback("exported/several", ("float32", "int8"), evaluation_data=(x, y))
model.fit(
    x,
    y,
    batch_size=8,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[
        # The first that matches counts, and what none matches stays dense.
        PruningScheduleCallback({"body": ramp_by_fraction(0.8, begin=0.0, end=0.6), "stem|share": 0.5}),
        ClusterOnTrainEndCallback(16),
        export,
    ],
)

assert export.report is not None  # it is there when the fit has ended
for one in export.report["formats"]["int8"]["outputs"]:
    print(f"{one['name']}: off by {one['relative_difference']:.3f} of its largest answer at most")
