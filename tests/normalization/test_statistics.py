"""Statistics of BatchNormalization, estimated anew: against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    PruningScheduleCallback,
    ReestimateBatchNormCallback,
    compat,
    reestimate_batch_norm,
)
from segopt_callbacks.compat import keras

DATA = np.random.default_rng(0).normal(3.0, 2.0, (96, 6)).astype("float32")


def batch_norm(**settings):
    return keras.layers.BatchNormalization(**settings)


def model_of(*layers):
    return keras.Sequential([keras.Input((6,)), *layers])


def statistics(layer):
    return compat.read(layer.moving_mean), compat.read(layer.moving_variance)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99, 0.999])
def test_each_batch_has_the_same_weight(momentum):
    layer = batch_norm(momentum=momentum)
    model = model_of(keras.layers.Dense(4, kernel_initializer="glorot_uniform"), layer)
    batches = np.asarray(model.layers[0](DATA)).reshape(3, 32, 4)
    reestimate_batch_norm(model, DATA)
    mean, variance = statistics(layer)
    np.testing.assert_allclose(mean, batches.mean(axis=(0, 1)), rtol=3e-4, atol=1e-5)
    np.testing.assert_allclose(variance, batches.var(axis=1).mean(axis=0), rtol=3e-4)


def test_a_layer_called_twice_has_statistics_of_both_calls():
    layer = batch_norm(momentum=0.9)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layer(layer(inputs) * 3.0 + 5.0))
    reestimate_batch_norm(model, DATA[:32])
    first = DATA[:32].mean(0)
    second = 5.0  # of an answer whose mean is 0 and is shifted by 5
    np.testing.assert_allclose(statistics(layer)[0], (0.9 * 0.1 * first + 0.1 * second) / (1 - 0.9**2), rtol=1e-3)


def test_a_call_traced_before_is_no_trap():
    class Traced(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm = batch_norm()

        @tf.function
        def call(self, inputs, training=False):
            return self.norm(inputs, training=training)

    model = Traced()
    model(DATA, training=True)
    as_traced = tf.data.Dataset.from_tensor_slices((DATA, DATA)).batch(96)
    if statistics(model.norm)[0].any():
        reestimate_batch_norm(model, as_traced)
    else:  # what Keras 3 traces while it builds a model updates nothing, and is used again for the same shape
        with pytest.raises(ValueError, match="must update statistics"):
            reestimate_batch_norm(model, as_traced)
        reestimate_batch_norm(model, DATA)
    np.testing.assert_allclose(statistics(model.norm)[0], DATA.mean(0), rtol=1e-4)


def test_a_model_that_never_updates_its_statistics_is_refused():
    class Forgetful(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm = batch_norm()

        def call(self, inputs, training=False):
            return self.norm(inputs, training=False)

    model = Forgetful()
    model(DATA)
    with pytest.raises(ValueError, match="must update statistics"):
        reestimate_batch_norm(model, DATA)


def test_all_else_stays():
    frozen, trained = batch_norm(), batch_norm()
    model = model_of(frozen, keras.layers.Dropout(0.5, seed=1), trained)
    frozen.trainable = False
    changed = {id(trained.moving_mean), id(trained.moving_variance)}
    before = [(weight, compat.read(weight).copy()) for weight in model.variables if id(weight) not in changed]
    reestimate_batch_norm(model, DATA)
    for weight, value in before:
        np.testing.assert_array_equal(compat.read(weight), value)
    assert abs(statistics(trained)[0]).max() > 0.1


@pytest.mark.parametrize(
    ("data", "batches", "message"),
    [
        (DATA[:0], None, "at least one batch"),
        (tf.data.Dataset.from_tensor_slices(DATA).batch(8).repeat(), None, "without an end"),
        (DATA, 0, "at least 1"),
        (DATA * np.float32("nan"), None, "must be finite"),
    ],
)
def test_data_without_statistics_is_refused_and_nothing_changes(data, batches, message):
    model = model_of(batch_norm())
    with pytest.raises(ValueError, match=message):
        reestimate_batch_norm(model, data, batches=batches)
    np.testing.assert_array_equal(statistics(model.layers[-1])[0], np.zeros(6))


def test_a_model_without_a_layer_to_refresh_is_refused():
    with pytest.raises(ValueError, match="BatchNormalization trains"):
        reestimate_batch_norm(model_of(keras.layers.Dense(2)), DATA)


def test_as_many_batches_as_asked_for_are_read():
    model = model_of(batch_norm())
    reestimate_batch_norm(model, tf.data.Dataset.from_tensor_slices(DATA).batch(32).repeat(), batches=2)
    np.testing.assert_allclose(statistics(model.layers[-1])[0], DATA[:64].mean(0), rtol=1e-4)


@pytest.mark.parametrize("order", [1, -1])
def test_the_callback_runs_behind_pruning_and_clustering(order):
    layer = batch_norm()
    model = model_of(keras.layers.Dense(8), layer, keras.layers.Dense(2))
    model.compile("sgd", "mse")
    callbacks = [ReestimateBatchNormCallback(DATA), PruningScheduleCallback(0.5), ClusterOnTrainEndCallback(4)]
    model.fit(DATA, DATA[:, :2], epochs=1, verbose=0, callbacks=callbacks[::order])
    answers = np.asarray(model.layers[0](DATA)).reshape(3, 32, 8)
    np.testing.assert_allclose(statistics(layer)[0], answers.mean(axis=(0, 1)), rtol=1e-3, atol=1e-4)
    assert np.unique(compat.read(model.layers[0].kernel)).size <= 4
