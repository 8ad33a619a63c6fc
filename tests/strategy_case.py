"""A fit under MirroredStrategy on two virtual CPUs, in a process of its own: `python -m tests.strategy_case`."""

import numpy as np
import tensorflow as tf

from segopt_callbacks import ClusterOnTrainEndCallback, PruningScheduleCallback
from tests.conformance import Segmenter, Watch, compiled, fit, kernels


def zeros_on_every_replica(model):
    counts = []
    for weight in model.trainable_weights:
        mirrored = weight.value if hasattr(weight, "path") else weight
        first, second = (replica.numpy() for replica in mirrored.values)
        if not np.array_equal(first, second):
            raise SystemExit(f"replicas differ: {weight.name}")
        if first.ndim >= 2:
            counts.append(int((first == 0).sum()))
    return counts


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = compiled(Segmenter())
    watch = Watch(zeros_on_every_replica)
    fit(model, ClusterOnTrainEndCallback(6), PruningScheduleCallback(0.8), watch)
    expected = [round(0.8 * value.size) for value in kernels(model).values()]
    exact = all(seen == expected for seen in watch.seen)
    few = all(np.unique(value).size <= 6 for value in kernels(model).values())
    print(f"steps {len(watch.seen)} exact {exact} clustered {few}")


main()
