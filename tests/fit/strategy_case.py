"""Fits under strategies, each in a process of its own, that print what became of the replicas as JSON.

`python -m tests.fit.strategy_case mirrored POLICY`: MirroredStrategy on two virtual CPUs.
`python -m tests.fit.strategy_case methods`, `fine_tuning`, `quantization`: likewise, with other callbacks.
`python -m tests.fit.strategy_case distillation`: likewise, and without a strategy, with a teacher.
`python -m tests.fit.strategy_case sampling`: likewise, with and without a sample of the inputs.
`python -m tests.fit.strategy_case exports`: likewise, exported into every format.
`python -m tests.fit.strategy_case worker INDEX PORT,PORT FOLDER`: one process of MultiWorkerMirroredStrategy.
"""

import hashlib
import json
import os
import pathlib
import sys
import tempfile

import numpy as np
import tensorflow as tf

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ClusterScheduleCallback,
    CompressionSummaries,
    ConstantSparsity,
    DistillationCallback,
    ExportQuantizedCallback,
    PolynomialDecay,
    PruningScheduleCallback,
    QuantizationAwareTrainingCallback,
    channel,
    compat,
)
from segopt_callbacks.compat import keras
from segopt_callbacks.data.training_sample import TrainingSample
from tests.conformance import IMAGES, LABELS, Segmenter, Watch, compiled, fit, kernels
from tests.export import conformance_cases
from train_unet.backup import Backup


def rising():
    return PolynomialDecay(0.2, 0.8, begin_step=1, end_step=6, frequency=2)


def replicas(variable):
    """The value on each device of this process."""
    held = variable if isinstance(variable, tf.Variable) else variable.value
    held = getattr(held, "_variable", held)
    return [one.numpy() for one in held.values]


def watch(pruning):
    """Records after each batch: are replicas equal and zeros where the masks say; and digests for other processes."""

    def record(model):
        weights = [replicas(weight) for weight in model.trainable_weights]
        masks = [replicas(masked._kept) for masked in pruning.pruned.masked.values()]
        pruned = [replicas(weight) for weight in pruning._weights.values()]
        return {
            "equal": all(np.array_equal(first, other) for first, *others in weights + masks for other in others),
            "exact": all(
                np.array_equal(value == 0, ~mask)
                for values, kept in zip(pruned, masks, strict=True)
                for value, mask in zip(values, kept, strict=True)
            ),
            "zeros": [int((value[0] == 0).sum()) for value in pruned],
            "weights": digest(weights),
            "masks": digest(masks),
        }

    return Watch(record)


def digest(values):
    return hashlib.sha256(b"".join(one.tobytes() for several in values for one in several)).hexdigest()


def train(model, *callbacks):
    pruning = PruningScheduleCallback(rising())
    watched = watch(pruning)
    fit(model, ClusterOnTrainEndCallback(6), pruning, watched, *callbacks)
    clustered = [replicas(weight) for weight in pruning._weights.values()]
    return {
        "steps": watched.seen,
        "replicas": len(clustered[0]),
        "few": all(np.unique(value).size <= 6 for values in clustered for value in values),
        "clustered": digest(clustered),
        "expected": [round(0.8 * value.size) for value in kernels(model).values()],
    }


def train_and_resume(make, folder, *callbacks):
    """What `train` has to say; and how far another fit is from it that goes on before the last step, by the backup."""
    path = pathlib.Path(folder) / "backup.npz"
    values = Watch(lambda model: [compat.read(weight) for weight in model.trainable_weights])
    model = make()
    result = train(model, *callbacks, values, Backup(path, goes_on=False, writes=compat.is_chief(model)))
    resumed, pruning = make(), PruningScheduleCallback(rising())
    with resumed.distribute_strategy.scope():
        resumed(IMAGES[:1])  # variables are restored that are there
    backup, watched, others = Backup(path, writes=False), watch(pruning), Watch(values.record)
    fit(resumed, pruning, watched, others, backup, initial_epoch=backup.place[0])
    pairs = zip(values.seen[-1], others.seen[-1], strict=True)
    return result | {
        "resumed": watched.seen,
        "difference": max(float(abs(one - other).max()) for one, other in pairs),
    }


def two_replicas():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def mirrored(policy):
    keras.mixed_precision.set_global_policy(policy)
    strategy = two_replicas()

    def make():
        with strategy.scope():
            return compiled(Segmenter(), optimizer=keras.optimizers.Adam(1e-2))

    return train_and_resume(make, tempfile.mkdtemp()) if policy == "float32" else train(make())


def methods():
    """What reads gradients, or zeros biases and normalisations too, on two replicas."""
    strategy, seen = two_replicas(), {}
    often = ConstantSparsity(0.8, begin_step=0, end_step=6, frequency=2)
    for name, arguments in {
        "saliency": {"schedule": often, "criterion": "saliency", "scope": "global"},
        "regrowth": {"schedule": often, "regrow": "gradient"},
        "channels": {"schedule": 0.5, "pattern": channel()},
    }.items():
        with strategy.scope():
            model = compiled(Segmenter(), optimizer=keras.optimizers.Adam(1e-2))
        pruning = PruningScheduleCallback(**arguments)
        watched = watch(pruning)
        fit(model, pruning, watched)
        masks = {path: int((~mask).sum()) for path, mask in pruning.pruned.masks.items()}
        records = pruning._record.read(pruning._weights) if pruning._record else {}
        seen[name] = {
            "steps": watched.seen,
            "promised": list(masks.values()),
            "sizes": [int(mask.size) for mask in pruning.pruned.masks.values()],
            "recorded": [bool(record.any()) for record in records.values()],
        }
    return seen


def fine_tuning():
    """Shared values that train on two replicas, with zeros that come meanwhile."""
    with two_replicas().scope():
        model = compiled(Segmenter(), optimizer=keras.optimizers.Adam(1e-2))
    clustering, pruning = ClusterScheduleCallback(6, begin_step=3), PruningScheduleCallback(rising())

    def record(model):
        weights = [replicas(weight) for weight in model.trainable_weights]
        shared = [replicas(weight) for weight in clustering._weights.values()]
        return {
            "equal": all(np.array_equal(first, other) for first, *others in weights for other in others),
            "values": max(np.unique(value).size for values in shared for value in values),
            "zeros": [int((values[1] == 0).sum()) for values in shared],
        }

    watched = Watch(record)
    fit(model, clustering, pruning, watched)
    return {"steps": watched.seen, "expected": [round(0.8 * value.size) for value in kernels(model).values()]}


def quantization():
    """Ranges on two replicas: averages, then trained by the gradients of both."""
    with two_replicas().scope():
        model = compiled(Segmenter(), optimizer=keras.optimizers.Adam(1e-2))
    training = QuantizationAwareTrainingCallback(learn_ranges=True)
    export = ExportQuantizedCallback(tempfile.mkdtemp(), ("int8",), latency=False, verbose=0)

    def record(model):
        states = [replicas(one._state) for one in training.simulation.ranges.values()]
        weights = [replicas(weight) for weight in model.trainable_weights]
        return [
            all(np.array_equal(first, other) for first, *others in held for other in others)
            for held in (states, weights)
        ]

    watched = Watch(record)
    fit(model, training, export, watched, epochs=4)
    return {
        "equal": all(one for one, _ in watched.seen),
        "kernels_equal": all(one for _, one in watched.seen),
        "ranges": len(training.ranges),
        "trained": sum(one.was_learned for one in training.simulation.ranges.values()),
        "int8": export.report["formats"]["int8"]["status"],
    }


def distillation():
    """A teacher of two replicas, and of none: a model of its own, and the model itself."""
    weights, histories = [], []
    for strategy in (two_replicas(), tf.distribute.get_strategy()):
        with strategy.scope():
            model = compiled(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3, padding="same")]))
        random = np.random.default_rng(0)
        for teacher in (lambda images: 3.0 * images, None):
            model.set_weights([random.normal(size=one.shape) for one in model.get_weights()])
            histories.append(fit(model, DistillationCallback(teacher, weight=0.7)).history["distillation_loss"])
            weights.append(np.concatenate([one.ravel() for one in model.get_weights()]))
    return {
        "differences": [float(abs(one - other).max()) for one, other in zip(weights[:2], weights[2:], strict=True)],
        "histories": histories,
    }


class Sampling(compat.Callback):
    """Samples the inputs."""

    def on_train_begin(self, logs=None):
        self.sample = TrainingSample(self.model)


def sampling():
    weights, callback = [], Sampling()
    for callbacks in ([], [callback]):
        keras.utils.set_random_seed(7)
        strategy = two_replicas()
        with strategy.scope():
            model = keras.Sequential([keras.layers.Dense(3)])
            model.compile("sgd", "mse")
        model.fit(IMAGES, IMAGES, batch_size=4, epochs=2, verbose=0, callbacks=callbacks)
        weights.append(model.get_weights())
    examples = callback.sample.examples()
    return {
        "replicas": strategy.num_replicas_in_sync,
        "same": all(np.array_equal(one, other) for one, other in zip(*weights, strict=True)),
        "shapes": sorted({one.shape for one in examples}),
        "all": {one.tobytes() for one in examples} == {one.tobytes() for one in IMAGES},
        "seen": len(examples),
    }


def exports():
    """The model of every format's page, trained, and exported inside the scope, where variables are mirrored ones."""
    strategy = two_replicas()
    with strategy.scope():
        model, images = conformance_cases.subclassed()
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, np.zeros(images.shape[:3]), batch_size=4, verbose=0)
    with strategy.scope():
        return conformance_cases.exported(model, images)


def worker(index, ports, folder):
    workers = [f"127.0.0.1:{port}" for port in ports.split(",")]
    task = {"type": "worker", "index": int(index)}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    def make():
        with strategy.scope():
            return compiled(Segmenter(), optimizer=keras.optimizers.Adam(1e-2))

    model, folder, made = make(), pathlib.Path(folder), []
    result = {"error": ""}
    try:
        fit(model, ExportQuantizedCallback(folder / "exported", ("float32",), evaluation_data=(IMAGES, LABELS)))
    except RuntimeError as error:
        result["error"] = str(error)
    if compat.is_keras_2(model):
        result |= train_and_resume(
            lambda: made.append(make()) or made[-1], folder, CompressionSummaries(folder / "logs")
        )
        made[0].save_weights(folder / f"of_worker_{index}" / "saved")
        training = QuantizationAwareTrainingCallback()
        fit(make(), training)
        result["ranges"] = training.ranges
    return result


def main(mode, *arguments):
    keras.utils.set_random_seed(7)
    modes = {
        "mirrored": mirrored,
        "methods": methods,
        "fine_tuning": fine_tuning,
        "quantization": quantization,
        "distillation": distillation,
        "sampling": sampling,
        "exports": exports,
        "worker": worker,
    }
    print(json.dumps(modes[mode](*arguments)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
