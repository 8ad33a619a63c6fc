"""A fit that is killed, and processes that continue it.

`python -m tests.fit.resume_case kill FOLDER STEP` trains with every way to save beside each other, and kills itself
behind that step. `python -m tests.fit.resume_case resume FOLDER` continues what it finds in `FOLDER/STEP/`, each way in
a fit of its own, and prints as JSON how that went beside a fit that was never interrupted.
"""

import json
import os
import pathlib
import shutil
import signal
import sys

import numpy as np
import tensorflow as tf

from segopt_callbacks import PolynomialDecay, PruningScheduleCallback, compat
from segopt_callbacks.compat import keras

STEPS, EPOCHS, SAVE_FREQ = 4, 5, 3
SPARSE = {1: 0.1, 6: 0.2, 13: 0.3}  # a plain callable that seldom fires
WAYS = ("backup_epoch", "backup_batches", "whole.keras", "some.weights.h5", "checkpoint", "middle.keras")


@keras.utils.register_keras_serializable()
class Net(keras.Model):
    """Has kept weights that are exactly 0: by a constraint, and by an initializer that no gradient follows."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Conv2D(
            8, 3, padding="same", kernel_constraint=keras.constraints.NonNeg(), name="first"
        )
        self.normalize = keras.layers.BatchNormalization()
        self.second = keras.layers.Conv2D(8, 3, padding="same", kernel_initializer="zeros", name="second")
        self.dead = keras.layers.Conv2D(8, 1, kernel_initializer="zeros", name="dead")
        self.head = keras.layers.Conv2D(3, 1, name="head")

    def call(self, inputs, training=None):
        hidden = keras.activations.relu(self.normalize(self.first(inputs), training=training))
        hidden = hidden + self.second(hidden)
        return self.head(hidden + self.dead(keras.activations.relu(hidden - 1e9)))


def compiled_net():
    keras.utils.set_random_seed(7)
    net = Net()
    net(np.zeros((1, 6, 6, 3), "float32"))
    net.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return net


def shuffled():
    random = np.random.default_rng(0)
    images = random.normal(size=(8 * STEPS, 6, 6, 3)).astype("float32")
    labels = random.integers(0, 3, size=(8 * STEPS, 6, 6))
    return tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(32, 5, reshuffle_each_iteration=False).batch(8)


class Trace(keras.callbacks.Callback):
    """step -> masks and weights at the beginning, and after each batch."""

    def __init__(self, pruning):
        super().__init__()
        self.pruning, self.masks, self.weights, self.first_step = pruning, {}, {}, None

    def on_train_batch_begin(self, batch, logs=None):
        if self.first_step is None:
            self.first_step = self.pruning.lifecycle.step
            self.record()

    def on_train_batch_end(self, batch, logs=None):
        self.record()

    def record(self):
        step = self.pruning.lifecycle.step
        self.masks[step] = self.pruning.lifecycle.told.masks
        self.weights[step] = [compat.read(weight) for weight in self.model.weights]


class SaveCheckpoint(keras.callbacks.Callback):
    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch, logs=None):
        tf.train.Checkpoint(model=self.model, optimizer=self.model.optimizer).write(str(self.folder / "checkpoint"))


class At(keras.callbacks.Callback):
    """Does something behind a step: at the end of its batch, or of the epoch where it is the last."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action, self.epoch = step, action, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.step % STEPS and self.epoch * STEPS + batch + 1 == self.step:
            self.action()

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) * STEPS == self.step:
            self.action()


def pruning():
    return [
        PruningScheduleCallback(PolynomialDecay(0.1, 0.7, begin_step=2, end_step=12, frequency=3), "second|head"),
        PruningScheduleCallback(lambda step: (step in SPARSE, SPARSE.get(step, 0.0)), "first|dead"),
    ]


def backup(folder, name):
    freq = SAVE_FREQ if name == "backup_batches" else "epoch"
    return keras.callbacks.BackupAndRestore(str(folder / name), save_freq=freq)


def train(net, *callbacks, **fit_args):
    net.fit(shuffled(), epochs=EPOCHS, verbose=0, callbacks=[*callbacks], **fit_args)


def kill(folder, step):
    checkpoint = keras.callbacks.ModelCheckpoint
    train(
        compiled_net(),
        backup(folder, "backup_batches"),  # before the masks change at a step
        *pruning(),
        backup(folder, "backup_epoch"),
        checkpoint(str(folder / "whole.keras")),
        checkpoint(str(folder / "some.weights.h5"), save_weights_only=True),
        checkpoint(str(folder / "middle.keras"), save_freq=SAVE_FREQ),  # behind it
        SaveCheckpoint(folder),
        At(step, lambda: os.kill(os.getpid(), signal.SIGKILL)),
    )


def restored(folder, way):
    """The model, and what else `fit` needs to continue."""
    if way.endswith(".keras"):
        net = keras.models.load_model(folder / way)
        return net, [], int(net.optimizer.iterations) // STEPS
    net = compiled_net()
    if way.startswith("backup"):
        return net, [backup(folder, way)], 0
    net.optimizer.build(net.trainable_variables)
    if way == "some.weights.h5":
        net.load_weights(folder / way)
    else:
        tf.train.Checkpoint(model=net, optimizer=net.optimizer).read(str(folder / way)).assert_consumed()
    return net, [], int(net.optimizer.iterations) // STEPS


def resume(folder, way, reference):
    net, callbacks, initial_epoch = restored(folder, way)
    ours = pruning()
    trace = Trace(ours[0])
    train(net, *ours, *callbacks, trace, initial_epoch=initial_epoch)
    step, last = trace.first_step, STEPS * EPOCHS
    return {
        "killed_behind": int(folder.name),
        "way": way,
        "step": step,
        "same_masks": same(trace.masks[step].values(), reference.masks[step].values()),
        "same_weights": same(trace.weights[step], reference.weights[step]),
        "same_end": last in trace.weights and same(trace.weights[last], reference.weights[last]),
        "pruned": [int((~mask).sum()) for mask in ours[0].lifecycle.told.masks.values()],
        "zeros": all((weight[~mask] == 0).all() for weight, mask in masked(ours)),
    }


def masked(callbacks):
    lifecycle = callbacks[0].lifecycle
    return [(compat.read(lifecycle.told.selected[path]), mask) for path, mask in lifecycle.told.masks.items()]


def same(ones, others):
    return all(np.array_equal(one, other) for one, other in zip(ones, others, strict=True))


def plain_training_resumes_identically(folder):
    """What Keras itself makes of a backup from the middle of an epoch."""

    def stop():
        raise KeyboardInterrupt

    whole, killed, continued = compiled_net(), compiled_net(), compiled_net()
    train(whole)
    try:
        train(killed, backup(folder, "backup_batches"), At(2 * SAVE_FREQ, stop))
    except KeyboardInterrupt:
        train(continued, backup(folder, "backup_batches"))
    return same([compat.read(one) for one in whole.weights], [compat.read(one) for one in continued.weights])


def main(mode, folder, step=0):
    tf.config.experimental.enable_op_determinism()
    folder = pathlib.Path(folder)
    if mode == "kill":
        kill(folder / str(step), int(step))
    ours = pruning()
    reference = Trace(ours[0])
    train(compiled_net(), *ours, reference)
    cases = [
        resume(killed, way, reference)
        for killed in sorted(folder.iterdir(), key=lambda one: int(one.name))
        for way in WAYS
        if way.startswith("backup") or killed.name == "15"
    ]
    shutil.rmtree(folder)
    plain = plain_training_resumes_identically(folder)
    kept_zeros = [int((weight[mask] == 0).sum()) for weight, mask in masked(ours)]
    pruned = [int((~mask).sum()) for _, mask in masked(ours)]
    print(json.dumps({"cases": cases, "plain": plain, "kept_zeros": kept_zeros, "pruned": pruned}))


if __name__ == "__main__":
    main(*sys.argv[1:])
