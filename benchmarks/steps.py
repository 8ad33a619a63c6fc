"""Training steps side by side: networks, one step of each in turn, ratios with their intervals."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf

BATCH, WARM_UP, CLASSES = 16, 5, 4


def interval(ratios):
    """Median of the ratios and its 95% interval, by bootstrap."""
    random = np.random.default_rng(0)
    medians = np.median(random.choice(ratios, (2000, len(ratios))), axis=1)
    return np.median(ratios), *np.quantile(medians, [0.025, 0.975])


def ratio_text(seconds, name, base):
    """Name -> seconds of each round: a line about the ratio of two of them."""
    ratio, low, high = interval(np.divide(seconds[name], seconds[base]))
    return f"{name:14} / {base:14} {ratio:8.3f} [{low:.3f}, {high:.3f}]"


def unet(library):
    """The functional twin of `train_unet.unet.UNet(4, 32)`; tfmot wraps no subclassed one."""
    layers = library.layers

    def block(hidden, filters):
        for _ in range(2):
            hidden = layers.Conv2D(filters, 3, padding="same", use_bias=False)(hidden)
            hidden = layers.ReLU()(layers.BatchNormalization()(hidden))
        return hidden

    inputs = hidden = library.Input((128, 128, 3))
    skips = []
    for filters in (32, 64, 128):
        skips.append(block(hidden, filters))
        hidden = layers.MaxPooling2D(2)(skips[-1])
    hidden = block(hidden, 256)
    for filters in (128, 64, 32):
        hidden = layers.UpSampling2D(2, interpolation="bilinear")(hidden)
        hidden = block(layers.Concatenate()([hidden, skips.pop()]), filters)
    return library.Model(inputs, layers.Conv2D(CLASSES, 1)(hidden))


def strided(library, size):
    """Convolutions of stride 2: many weights, little arithmetic."""
    inputs = hidden = library.Input((size, size, 3))
    for filters in (64, 128, 256, 512):
        hidden = library.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(hidden)
    hidden = library.layers.Conv2D(64, 3, padding="same")(hidden)
    return library.Model(inputs, library.layers.Conv2D(CLASSES, 1)(hidden))


def strided_128(library):
    """`strided` on images of 128 pixels."""
    return strided(library, 128)


def strided_32(library):
    """`strided` on images of 32 pixels."""
    return strided(library, 32)


NETWORKS = (unet, strided_128, strided_32)


def compiled(model, library):
    """The model with Adam and its loss, and its step made."""
    loss = library.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(library.optimizers.Adam(1e-3), loss, jit_compile=False)
    model.make_train_function()
    return model


def begin(callback, model):
    """What `fit` does before its first step."""
    callback.set_params({"epochs": 1, "steps": None})
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    return callback


def make_step(model, network, before=None, after=None):
    """Function that makes one step, with the callback's part of it; `network` made the model, wrapped or not."""
    size, out = (32, 2) if network is strided_32 else (128, 128 if network is unet else 8)
    random = np.random.default_rng(0)
    images = random.uniform(size=(BATCH, size, size, 3)).astype("float32")
    labels = random.integers(0, CLASSES, (BATCH, out, out)).astype("int32")
    return step_on(iter(tf.data.Dataset.from_tensors((images, labels)).cache().repeat()), model, before, after)


def step_on(iterator, model, before=None, after=None):
    """Function that makes one step on the iterator's next batch, with the callback's part of it."""
    count = iter(range(10**9))

    def step():
        index = next(count)
        if before:
            before(index)
        logs = model.train_function(iterator)
        if after:
            after(index)
        return float(logs["loss"])

    return step


def plain_step(network, library):
    """The step of a model that nobody compresses."""
    return make_step(compiled(network(library), library), network)


def compare_steps(network, every, pairs, rounds):
    """Runs all steps in turn, in a new random order each round, and prints ratios.

    Args:
        network: of `NETWORKS`.
        every: name -> step; `plain` among them.
        pairs: names whose ratios to print.
        rounds: after those that warm up; a quarter of them for the U-Net, whose steps take thirty times as long.
    """
    import tf_keras

    rounds = max(rounds // 4, 3) if network is unet else rounds
    seconds = in_turn(every, rounds)
    medians = ", ".join(f"{name} {np.median(seconds[name]) * 1e3:.1f} ms" for name in every if "plain" in name)
    weights = network(tf_keras).count_params()
    print(f"steps: {network.__name__}, {weights:,} weights, batch {BATCH}, {rounds} rounds; {medians}")
    for name, base in pairs:
        print(" ", ratio_text(seconds, name, base), flush=True)


def in_turn(every, rounds, warm_up=WARM_UP):
    """Name of a step -> seconds of it in each round, in a new random order each time, after those that warm up."""
    seconds = {name: [] for name in every}
    random = np.random.default_rng(0)
    for number in range(warm_up + rounds):
        for name in random.permutation(list(every)):
            start = time.perf_counter()
            every[name]()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds
