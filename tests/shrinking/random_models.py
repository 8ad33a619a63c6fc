"""Random functional models, half of whose channels are dead."""

import numpy as np

from segopt_callbacks.compat import keras

SIZE = 8


def kill(model, seed, fraction=0.5):
    """Zeros whole channels of layers; of their biases and of normalizations some."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        shape = tuple(weight.shape)
        value = random.normal(size=shape)
        name = getattr(weight, "path", weight.name)
        if "variance" in name:
            value = np.abs(value) + 0.1
        elif "mean" not in name:
            dead = random.uniform(size=shape[-1]) < fraction
            value[..., dead] = -np.abs(value[..., dead]) if "bias" in name and random.uniform() < 0.3 else 0
        weight.assign(value.astype("float32"))
    return model


def draw(seed):
    """A model of three to nine layers or more."""
    layers, random = keras.layers, np.random.default_rng(seed)

    def choose(choices):
        return choices[random.integers(len(choices))]

    inputs = keras.Input((SIZE, SIZE, 3))
    tensors = [layers.Conv2D(6, 3, padding="same")(inputs)]
    for _ in range(random.integers(3, 10)):
        x = choose([tensors[-1], tensors[-1], choose(tensors)])
        tensors.append(_step(choose, layers, tensors, x))
    pooled = layers.Dense(3)(layers.GlobalAveragePooling2D()(choose(tensors)))
    return kill(keras.Model(inputs, [layers.Conv2D(2, 1)(tensors[-1]), pooled]), seed)


def _step(choose, layers, tensors, x):
    size, channels = x.shape[1], x.shape[-1]
    same = [one for one in tensors if one.shape == x.shape]
    beside = [one for one in tensors if one.shape[1] == size and one.shape[-1] + channels < 20]
    kinds = {
        "conv": lambda: layers.Conv2D(choose([3, 6]), choose([1, 3]), padding="same", activation="relu")(x),
        "dense": lambda: layers.Dense(choose([4, 6]), activation=choose(["relu", "sigmoid"]))(x),
        "separable": lambda: layers.SeparableConv2D(6, 3, padding="same")(x),
        "depthwise": lambda: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=choose([1, 2]))(x),
        "norm": lambda: layers.BatchNormalization()(x),
        "activation": lambda: choose([layers.ReLU(), layers.Activation("tanh"), layers.PReLU(shared_axes=[1, 2])])(x),
        "space": lambda: choose([layers.MaxPooling2D(1), layers.AveragePooling2D(3, 1, "same")])(x),
        "up": lambda: layers.MaxPooling2D(2)(layers.UpSampling2D()(x)),
        "transposed": lambda: layers.AveragePooling2D(2)(layers.Conv2DTranspose(4, 2, strides=2)(x)),
        "add": lambda: layers.Add()([x, choose(same)]),
        "operator": lambda: x * choose(same) + x,
        "concat": lambda: layers.Concatenate()([x, choose(beside)]) if beside else x,
        "gate": lambda: layers.Multiply()([x, layers.Dense(channels)(layers.GlobalMaxPooling2D(keepdims=True)(x))]),
        "flat": lambda: layers.Reshape((SIZE, SIZE, 1))(layers.Dense(SIZE * SIZE)(layers.Flatten()(x))),
        "unknown": lambda: layers.Lambda(lambda one: one[..., :2])(x),
    }
    return kinds[choose([*kinds, "conv", "norm", "activation"])]()
