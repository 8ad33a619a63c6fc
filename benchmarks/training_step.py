"""What pruning costs in a training step: ours beside an identical plain model, tfmot's wrapper beside its own, one run.

    python benchmarks/training_step.py

Steps take turns (plain, ours, plain twin, tfmot, ...), so that the machine's moods meet all of them alike. The ratio is
the median over the rounds, with the 95% interval of the median by bootstrap. The null is a second plain model.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import time

import numpy as np
import tensorflow as tf

from segopt_callbacks import PruningScheduleCallback
from segopt_callbacks.compat import keras

FILTERS, IMAGE, BATCH, ROUNDS, WARM_UP = (64, 128, 256, 512), 32, 16, 60, 5


def network(library):
    """A functional convolutional network of 1.9M weights; tfmot wraps no other kind."""
    inputs = hidden = library.Input((IMAGE, IMAGE, 3))
    for filters in FILTERS:
        hidden = library.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(hidden)
    hidden = library.layers.Conv2D(64, 3, padding="same")(hidden)
    return library.Model(inputs, library.layers.Conv2D(4, 1)(hidden))


def compiled(model, library):
    loss = library.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(library.optimizers.Adam(1e-3), loss, jit_compile=False)
    model.make_train_function()
    return model


def batches():
    random = np.random.default_rng(0)
    images = random.uniform(size=(BATCH, IMAGE, IMAGE, 3)).astype("float32")
    labels = random.integers(0, 4, (BATCH, 2, 2)).astype("int32")
    return iter(tf.data.Dataset.from_tensors((images, labels)).cache().repeat())


def begin(callback, model):
    """What `fit` does before its first step."""
    callback.set_params({"epochs": 1, "steps": None})
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    return callback


def steps():
    """Name -> function that makes one step."""
    import tf_keras
    from tensorflow_model_optimization.sparsity import keras as sparsity

    plain, null, ours = (compiled(network(keras), keras) for _ in range(3))
    ours_callback = begin(PruningScheduleCallback(0.8), ours)
    schedule = sparsity.ConstantSparsity(0.8, begin_step=0, frequency=100)
    tfmot_plain = compiled(network(tf_keras), tf_keras)
    tfmot = compiled(sparsity.prune_low_magnitude(network(tf_keras), pruning_schedule=schedule), tf_keras)
    tfmot_callback = begin(sparsity.UpdatePruningStep(), tfmot)

    def make(model, before=None, after=None):
        iterator, count = batches(), iter(range(10**9))

        def step():
            index = next(count)
            if before:
                before(index)
            logs = model.train_function(iterator)
            if after:
                after(index)
            return float(logs["loss"])

        return step

    return {
        "plain": make(plain),
        "null": make(null),
        "ours": make(ours, after=ours_callback.on_train_batch_end),
        "tfmot plain": make(tfmot_plain),
        "tfmot": make(tfmot, before=tfmot_callback.on_train_batch_begin),
    }


def interval(ratios):
    random = np.random.default_rng(0)
    medians = np.median(random.choice(ratios, (2000, len(ratios))), axis=1)
    return np.median(ratios), *np.quantile(medians, [0.025, 0.975])


def main():
    every = steps()
    seconds = {name: [] for name in every}
    for number in range(WARM_UP + ROUNDS):
        for name, step in every.items():
            start = time.perf_counter()
            step()
            if number >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    weights = network(keras).count_params()
    print(
        f"{weights:,} weights, batch {BATCH}, {ROUNDS} rounds; plain {np.median(seconds['plain']) * 1e3:.1f} ms a step"
    )
    for name, base in (("null", "plain"), ("ours", "plain"), ("tfmot", "tfmot plain")):
        ratio, low, high = interval(np.divide(seconds[name], seconds[base]))
        print(f"{name:6} / {base:12} {ratio:.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
