"""A fit under MirroredStrategy on two virtual CPUs, in a process of its own: `python -m tests.mirrored_case POLICY`."""

import sys

import numpy as np
import tensorflow as tf

from segopt_callbacks import ClusterOnTrainEndCallback, PruningScheduleCallback, compat
from segopt_callbacks.compat import keras
from tests.conformance import Segmenter, compiled, fit, kernels
from tests.exact import fit_exactly


def kernels_of_equal_replicas(model):
    """The kernels, once every replica of every weight is known to hold the same."""
    for weight in model.trainable_weights:
        mirrored = weight.value if hasattr(weight, "path") else weight
        first, second = (replica.numpy() for replica in mirrored.values)
        if not np.array_equal(first, second):
            raise SystemExit(f"replicas differ: {compat.variable_path(weight)}")
    return kernels(model)


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    keras.mixed_precision.set_global_policy(sys.argv[1])
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = compiled(Segmenter())
    outcome = fit_exactly(model, weights=kernels_of_equal_replicas)
    fit(model, ClusterOnTrainEndCallback(6), PruningScheduleCallback(0.8))
    few = all(np.unique(value).size <= 6 for value in kernels_of_equal_replicas(model).values())
    print(f"{outcome}, clustered {few}")


if __name__ == "__main__":
    main()
