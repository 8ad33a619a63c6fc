"""DeepLabV3+ of KerasHub, trained on your classes, pruned and clustered. Needs Keras 3 and `pip install keras-hub`.

python kerashub_deeplab.py
"""

import keras
import keras_hub
import numpy as np

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    ReestimateBatchNormCallback,
    ramp_by_fraction,
)

PRESET = None  # such as "deeplab_v3_plus_resnet50_pascalvoc": trained weights, downloaded
SIZE, CLASSES, EPOCHS = 64, 2, 4  # of your own: 512 pixels

# Your data: images in [0, 1], and a class id for each pixel.
images = np.random.default_rng(0).uniform(size=(16, SIZE, SIZE, 3)).astype("float32")
masks = (images.mean(-1) > 0.5).astype("int32")


def untrained():
    """The same architecture on a small ResNet, with random weights."""
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(SIZE, SIZE, 3),
    )
    backbone = keras_hub.models.DeepLabV3Backbone(
        image_encoder=encoder,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        upsampling_size=8,
        dilation_rates=[6, 12, 18],
        image_shape=(SIZE, SIZE, 3),
    )
    return keras_hub.models.DeepLabV3ImageSegmenter(backbone=backbone, num_classes=CLASSES)


if PRESET:
    model = keras_hub.models.DeepLabV3ImageSegmenter.from_preset(PRESET, num_classes=CLASSES, preprocessor=None)
else:
    model = untrained()

loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])  # KerasHub's own metric expects one-hot classes
export = ExportQuantizedCallback(
    "exported/deeplab",
    ("float32", "int8"),
    evaluation_data=(images, masks),
    metrics={"miou": keras.metrics.MeanIoU(CLASSES, sparse_y_pred=False)},
)
model.fit(
    images,
    masks,
    batch_size=8,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[
        PruningScheduleCallback(ramp_by_fraction(0.8, begin=0.0, end=0.6), distribution="erk"),
        ClusterOnTrainEndCallback(16),
        ReestimateBatchNormCallback(images, batches=2),  # statistics of the network as it is now
        export,
    ],
)

assert export.report is not None  # it is there when the fit has ended
print("zeros in int8:", export.report["formats"]["int8"]["zeros"])
