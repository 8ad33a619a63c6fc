"""SegFormer of KerasHub: attention and layer normalisation in 8 bits. Needs Keras 3 and `pip install keras-hub`.

python kerashub_segformer.py
"""

import keras
import keras_hub
import numpy as np

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    ramp_by_fraction,
)

PRESET = None  # such as "segformer_b0_ade20k_512": trained weights, downloaded
SIZE, CLASSES, EPOCHS = 64, 2, 4  # of your own: 512 pixels

# Your data: images in [0, 1], and a class id for each pixel.
images = np.random.default_rng(0).uniform(size=(16, SIZE, SIZE, 3)).astype("float32")
masks = (images.mean(-1) > 0.5).astype("int32")


def untrained():
    """The same architecture with two small stages and random weights."""
    encoder = keras_hub.models.MiTBackbone(
        image_shape=(SIZE, SIZE, 3),
        num_layers=2,
        hidden_dims=[16, 32],
        layerwise_depths=[1, 1],
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[4, 2],
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        max_drop_path_rate=0.0,
    )
    backbone = keras_hub.models.SegFormerBackbone(image_encoder=encoder, projection_filters=32)
    return keras_hub.models.SegFormerImageSegmenter(backbone=backbone, num_classes=CLASSES)


if PRESET:
    model = keras_hub.models.SegFormerImageSegmenter.from_preset(PRESET, num_classes=CLASSES, preprocessor=None)
else:
    model = untrained()

loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])  # KerasHub's own metric expects one-hot classes
# An operation without an 8-bit form (the error function of GELU, in some versions) stays in float, and is named.
export = ExportQuantizedCallback(
    "exported/segformer",
    ("float32", "dynamic_int8", "int8"),
    evaluation_data=(images, masks),
    metrics={"miou": keras.metrics.MeanIoU(CLASSES, sparse_y_pred=False)},
    float_fallback=True,
)
model.fit(
    images,
    masks,
    batch_size=8,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[
        PruningScheduleCallback(ramp_by_fraction(0.7, begin=0.0, end=0.6), distribution="erk"),
        ClusterOnTrainEndCallback(16),
        export,
    ],
)

assert export.report is not None  # it is there when the fit has ended
print("in float:", export.report["formats"]["int8"].get("float_operations", []))
