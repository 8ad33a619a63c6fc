"""What `keras.distribution.DataParallel` does on TensorFlow: a model is fitted under it, with two virtual CPUs."""

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"]))
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
model.compile("sgd", "mse")
model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)
print("devices:", keras.distribution.list_devices())
print("variables on:", sorted({weight.value.device for weight in model.weights}))
print("replicas:", model.distribute_strategy.num_replicas_in_sync)
