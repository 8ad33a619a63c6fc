"""The architectures: each a function that builds one with random weights, and what is done to it.

Packages are imported where a model is built. Keras is `tf.keras` of the process, or what a package insists on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CLASSES = 5
VOCABULARY = 100
PRUNE, CLUSTER, ROUND = "prune", "cluster", "round"
SPARSITY, VALUES = 0.8, 16  # what pruning and clustering promise


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        name: as the package calls it.
        package: on PyPI.
        keras: 2 or 3.
        size: height and width in pixels; of a model of text the number of words.
        treatments: what happens in its fit.
        build: `size` -> the model.
        of_words: whether it reads text.
    """

    name: str
    package: str
    keras: int
    size: int
    treatments: tuple[str, ...]
    build: Callable[[int], Any]
    of_words: bool = False


def application(name: str) -> Callable[[int], Any]:
    """A classifier of `keras.applications`, to logits."""

    def build(size: int) -> Any:
        from segopt_callbacks.compat import keras

        make = getattr(keras.applications, name)
        return make(weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None)

    return build


def hub_classifier(name: str, **settings: Any) -> Callable[[int], Any]:
    """A backbone of KerasHub with a linear head."""

    def build(size: int) -> Any:
        import keras
        import keras_hub

        backbone = getattr(keras_hub.models, name)(image_shape=(size, size, 3), **settings)
        hidden = backbone.output
        hidden = list(hidden.values())[-1] if isinstance(hidden, dict) else hidden  # of all stages the last
        pooled = keras.layers.GlobalAveragePooling1D if len(hidden.shape) == 3 else keras.layers.GlobalAveragePooling2D
        return keras.Model(backbone.input, keras.layers.Dense(CLASSES, name="head")(pooled()(hidden)))

    return build


def hub_words(name: str, **settings: Any) -> Callable[[int], Any]:
    """A text backbone of KerasHub that classifies by its first word."""

    def build(size: int) -> Any:
        import keras
        import keras_hub

        backbone = getattr(keras_hub.models, name)(
            vocabulary_size=VOCABULARY,
            num_layers=2,
            num_heads=4,
            hidden_dim=64,
            intermediate_dim=128,
            max_sequence_length=size,
            **settings,
        )
        words = keras.Input((size,), dtype="int32", name="words")
        mask = keras.Input((size,), dtype="int32", name="mask")
        given = {"token_ids": words, "padding_mask": mask}
        if "segment_ids" in backbone.input:
            given["segment_ids"] = keras.ops.zeros_like(words)
        hidden = backbone(given)
        hidden = hidden["sequence_output"] if isinstance(hidden, dict) else hidden
        return keras.Model({"words": words, "mask": mask}, keras.layers.Dense(CLASSES, name="head")(hidden[:, 0]))

    return build


def deeplab(size: int) -> Any:
    """DeepLabV3+ of KerasHub on a small ResNet."""
    import keras_hub

    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 128, 128],
        stackwise_num_blocks=[2, 2, 2, 2],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(size, size, 3),
    )
    backbone = keras_hub.models.DeepLabV3Backbone(
        image_encoder=encoder,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        upsampling_size=8,
        dilation_rates=[6, 12, 18],
        image_shape=(size, size, 3),
    )
    return keras_hub.models.DeepLabV3ImageSegmenter(backbone=backbone, num_classes=CLASSES)


def segformer(size: int) -> Any:
    """SegFormer of KerasHub, as B0."""
    import keras_hub

    encoder = keras_hub.models.MiTBackbone(
        image_shape=(size, size, 3),
        num_layers=4,
        hidden_dims=[32, 64, 160, 256],
        layerwise_depths=[2, 2, 2, 2],
        layerwise_num_heads=[1, 2, 5, 8],
        layerwise_sr_ratios=[8, 4, 2, 1],
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        max_drop_path_rate=0.1,
    )
    backbone = keras_hub.models.SegFormerBackbone(image_encoder=encoder, projection_filters=128)
    return keras_hub.models.SegFormerImageSegmenter(backbone=backbone, num_classes=CLASSES)


def segmentation(name: str, backbone: str) -> Callable[[int], Any]:
    """A network of segmentation_models."""

    def build(size: int) -> Any:
        os.environ["SM_FRAMEWORK"] = "tf.keras"
        import segmentation_models

        make = getattr(segmentation_models, name)
        given = {"encoder_weights": None, "classes": CLASSES, "activation": "linear"}
        return make(backbone, input_shape=(size, size, 3), **given)

    return build


def collected(name: str, *arguments: Any, **settings: Any) -> Callable[[int], Any]:
    """A network of keras-unet-collection."""

    def build(size: int) -> Any:
        from keras_unet_collection import models

        given = {"n_labels": CLASSES, "output_activation": None, **settings}
        return getattr(models, name)((size, size, 3), *arguments, **given)

    return build


APPLICATIONS, HUB, SEGMENTATION, UNETS = (
    "keras.applications",
    "keras-hub",
    "segmentation-models",
    "keras-unet-collection",
)
FILTERS = [16, 32, 64]

ARCHITECTURES = (
    Architecture("BertBackbone", HUB, 3, 16, (PRUNE, CLUSTER), hub_words("BertBackbone"), of_words=True),
    Architecture("DistilBertBackbone", HUB, 3, 16, (ROUND,), hub_words("DistilBertBackbone"), of_words=True),
    Architecture(
        "HGNetV2Backbone",
        HUB,
        3,
        64,
        (PRUNE, CLUSTER),
        hub_classifier(
            "HGNetV2Backbone",
            depths=[1, 2, 4],
            embedding_size=32,
            hidden_sizes=[64, 128, 256],
            stem_channels=[3, 16, 32],
            hidden_act="relu",
            use_learnable_affine_block=False,
            stackwise_stage_filters=[(32, 16, 64, 1, 1, 3), (64, 32, 128, 2, 1, 3), (128, 64, 256, 4, 1, 3)],
            apply_downsample=[False, True, True],
            use_lightweight_conv_block=[False, False, False],
        ),
    ),
    Architecture(
        "CSPNetBackbone",
        HUB,
        3,
        64,
        (PRUNE, ROUND),
        hub_classifier(
            "CSPNetBackbone",
            stem_filters=32,
            stem_kernel_size=3,
            stem_strides=1,
            stackwise_depth=[1, 2, 4],
            stackwise_strides=[1, 2, 2],
            stackwise_num_filters=[32, 64, 128],
            block_type="dark_block",
            stage_type="dark",
        ),
    ),
    Architecture(
        "ViTBackbone",
        HUB,
        3,
        64,
        (PRUNE, ROUND),
        hub_classifier("ViTBackbone", patch_size=16, num_layers=4, num_heads=4, hidden_dim=64, mlp_dim=128),
    ),
    Architecture(
        "SwinTransformerBackbone",
        HUB,
        3,
        64,
        (PRUNE, CLUSTER),
        hub_classifier(
            "SwinTransformerBackbone", embed_dim=48, depths=(2, 2), num_heads=(2, 4), window_size=4, drop_path=0.0
        ),
    ),
    Architecture("DeepLabV3ImageSegmenter", HUB, 3, 128, (PRUNE, CLUSTER), deeplab),
    Architecture("unet_2d", UNETS, 3, 64, (PRUNE, CLUSTER), collected("unet_2d", FILTERS, batch_norm=True)),
    Architecture("att_unet_2d", UNETS, 2, 64, (PRUNE, CLUSTER), collected("att_unet_2d", FILTERS, batch_norm=True)),
    Architecture("unet_3plus_2d", UNETS, 2, 64, (PRUNE, CLUSTER), collected("unet_3plus_2d", filter_num_down=FILTERS)),
    Architecture(
        "u2net_2d", UNETS, 2, 64, (PRUNE,), collected("u2net_2d", filter_num_down=FILTERS, filter_4f_num=[32, 64])
    ),
    Architecture("unet_plus_2d", UNETS, 2, 64, (PRUNE, ROUND), collected("unet_plus_2d", FILTERS, batch_norm=True)),
    Architecture(
        "resunet_a_2d",
        UNETS,
        2,
        64,
        (PRUNE, CLUSTER),
        collected("resunet_a_2d", filter_num=FILTERS, dilation_num=[1, 3]),
    ),
    Architecture("MobileNetV3Small", APPLICATIONS, 3, 64, (PRUNE, CLUSTER), application("MobileNetV3Small")),
    Architecture("MobileNet", APPLICATIONS, 3, 64, (PRUNE, ROUND), application("MobileNet")),
    Architecture("MobileNetV2", APPLICATIONS, 2, 64, (PRUNE, CLUSTER), application("MobileNetV2")),
    Architecture("RegNetX002", APPLICATIONS, 2, 64, (PRUNE, CLUSTER), application("RegNetX002")),
    Architecture("Unet of resnet18", SEGMENTATION, 2, 64, (PRUNE, CLUSTER), segmentation("Unet", "resnet18")),
    Architecture("FPN of mobilenetv2", SEGMENTATION, 2, 64, (PRUNE, ROUND), segmentation("FPN", "mobilenetv2")),
    Architecture("Linknet of seresnet18", SEGMENTATION, 2, 64, (PRUNE, CLUSTER), segmentation("Linknet", "seresnet18")),
    Architecture("PSPNet of resnet18", SEGMENTATION, 2, 96, (PRUNE,), segmentation("PSPNet", "resnet18")),
    Architecture("SegFormerImageSegmenter", HUB, 3, 128, (PRUNE, CLUSTER), segformer),
    Architecture("EfficientNetB0", APPLICATIONS, 3, 64, (PRUNE, CLUSTER), application("EfficientNetB0")),
    Architecture("EfficientNetV2B0", APPLICATIONS, 2, 64, (PRUNE,), application("EfficientNetV2B0")),
    Architecture("ResNet50V2", APPLICATIONS, 2, 64, (PRUNE, CLUSTER), application("ResNet50V2")),
    Architecture("ResNet50", APPLICATIONS, 3, 64, (PRUNE, CLUSTER), application("ResNet50")),
    Architecture("DenseNet121", APPLICATIONS, 3, 64, (PRUNE, ROUND), application("DenseNet121")),
    Architecture("Xception", APPLICATIONS, 3, 72, (PRUNE,), application("Xception")),
    Architecture("ConvNeXtTiny", APPLICATIONS, 3, 64, (PRUNE, CLUSTER), application("ConvNeXtTiny")),
    Architecture("NASNetMobile", APPLICATIONS, 2, 64, (PRUNE,), application("NASNetMobile")),
)
