"""Averages under MirroredStrategy on two virtual CPUs, in a process of its own: `python -m tests.fit.averages_case`."""

import tensorflow as tf

from segopt_callbacks import PruningScheduleCallback, compat
from segopt_callbacks.compat import keras
from tests.conformance import Segmenter, Watch, compiled, fit, kernels


def zeros_on_every_replica(model):
    """Of each kernel and its average: the zeros of each replica."""
    pruned = [weight for weight in model.trainable_weights if len(weight.shape) >= 2]
    copies = [copy for weight in pruned for copy in (weight, *compat.averages_of(model, weight))]
    mirrored = [getattr(copy, "value", copy) if hasattr(copy, "path") else copy for copy in copies]
    return [int((replica.numpy() == 0).sum()) for one in mirrored for replica in one.values]


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = compiled(Segmenter(), optimizer=keras.optimizers.Adam(1e-2, use_ema=True))
    watch = Watch(zeros_on_every_replica)
    fit(model, watch, PruningScheduleCallback(0.8))
    expected = [round(0.8 * value.size) for value in kernels(model).values() for _ in range(4)]
    exact = [seen == expected for seen in [*watch.seen, zeros_on_every_replica(model)]]
    print(f"exact {sum(exact)} of {len(exact)}")


if __name__ == "__main__":
    main()
