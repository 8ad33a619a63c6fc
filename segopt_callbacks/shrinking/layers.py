"""Which layers can be made again with fewer channels, and what in their configuration says how many."""

from __future__ import annotations

from typing import Any

import numpy as np

from segopt_callbacks import compat

# Kind of layer -> what its configuration calls the number of its channels; and of which weight, and which axis of it,
# that is the size.
SIZES = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), ("filters", "kernel", -1)),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), ("filters", "kernel", -2)),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), ("filters", "pointwise_kernel", -1)),
    "Dense": ("units", "kernel", -1),
    "Embedding": ("output_dim", "embeddings", -1),
}
# Kinds that take as many channels as they are given; layers that no channel can leave need no place among them.
_DIMENSIONS = ("1D", "2D", "3D")
_ANY_NUMBER = {
    *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "ThresholdedReLU", "BatchNormalization"),
    *("DepthwiseConv1D", "DepthwiseConv2D"),
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"),
    *("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D", "SpatialDropout2D"),
    *("SpatialDropout3D", "ActivityRegularization", "Identity", "Masking"),
    *("Flatten", "RepeatVector", "Resizing", "Rescaling"),
    *(f"{kind}{one}" for kind in ("MaxPooling", "AveragePooling", "UpSampling") for one in _DIMENSIONS),
    *(f"Global{kind}Pooling{one}" for kind in ("Max", "Average") for one in _DIMENSIONS),
    *(f"{kind}{one}" for kind in ("ZeroPadding", "Cropping") for one in _DIMENSIONS),
    # Operations of Keras 3, and of Keras 2.
    *("Absolute", "Negative", "Square", "Sqrt", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Gelu", "Silu", "Sigmoid"),
    *("Tanh", "Softplus", "HardSigmoid", "HardSilu"),
    *(f"tf.math.{one}" for one in ("add", "subtract", "multiply", "maximum", "minimum", "abs", "negative", "square")),
    *(
        f"tf.{one}"
        for one in (
            "__operators__.add",
            "nn.relu",
            "nn.relu6",
            "nn.gelu",
            "nn.silu",
            "nn.elu",
            "math.sigmoid",
            "math.tanh",
        )
    ),
}
MODELS = ("Functional", "Sequential")
_WEIGHTS = {
    *("kernel", "bias", "depthwise_kernel", "pointwise_kernel", "embeddings", "alpha"),
    *("gamma", "beta", "moving_mean", "moving_variance"),
}


def takes_fewer(call: compat.LayerCall) -> bool:
    """Whether what is called can be made again for another number of channels.

    Custom layers, and subclasses of Keras' own, may do anything. So may layers with more weights than their class
    makes: LoRA factors, scales of int8.
    """
    arrays = [one for one in call.constants if np.ndim(one) > 0 and not isinstance(one, str)]
    return not arrays and is_known(call.layer)


def held_by(call: compat.LayerCall) -> tuple[Any, ...]:
    """The tensors that keep all their channels for a call: a model inside another one says what it takes."""
    if not takes_fewer(call):
        return (*call.reads, *call.answers)
    return call.reads if compat.kind_of(call.layer) in MODELS else ()


def is_known(layer: Any) -> bool:
    """Whether a layer's configuration says all numbers of channels in a way that is known here."""
    kind = compat.kind_of(layer)
    if kind in MODELS:
        return compat.is_functional(layer) and all(takes_fewer(one) for one in compat.layer_calls(layer))
    if kind not in SIZES and kind not in _ANY_NUMBER:
        return False
    weights = getattr(layer, "weights", [])
    if any(compat.variable_path(one).rpartition("/")[2] not in _WEIGHTS for one in weights):
        return False
    return kind != "Rescaling" or np.ndim(layer.scale) == np.ndim(layer.offset) == 0


def with_sizes(layer: Any, shapes: dict[int, tuple[int, ...]]) -> Any:
    """A new layer as `layer` is, for weights of other shapes.

    One that is not known and has no variables is handed on itself: a `Lambda` cannot be made from its configuration.

    Args:
        layer: or an operation, or a model inside another.
        shapes: identity of a weight -> its new shape, of those that change.

    Raises:
        ValueError: if the layer cannot be made from its configuration.
    """
    if compat.kind_of(layer) in MODELS:
        return compat.cloned(layer, lambda inner: with_sizes(inner, shapes))
    if not is_known(layer) and not getattr(layer, "variables", ()):
        return layer
    try:
        config = layer.get_config()
        key, name, axis = SIZES.get(compat.kind_of(layer), ("", "", 0))
        for one in getattr(layer, "weights", []) if key else []:
            if compat.variable_path(one).rpartition("/")[2] == name and compat.identity(one) in shapes:
                config[key] = shapes[compat.identity(one)][axis]
        return type(layer).from_config(config)
    except (NotImplementedError, TypeError) as error:
        raise ValueError(
            "Every layer of a model must be made again from its configuration for the model to shrink; give the layer "
            "a get_config, or export the model: its files lose the channels. "
            f"Received: {layer.name!r} of {type(layer).__name__}, which raises: {error}"
        ) from error
