"""Outside `fit`: a `CallbackList` calls the same hooks, and the zeros are as exact."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PolynomialDecay,
    PruningScheduleCallback,
    compat,
)
from segopt_callbacks.compat import keras
from tests import conformance
from tests.conformance import BATCH, IMAGES, LABELS, STEPS, Segmenter, Watch, built, compiled, fit, kernels, zeros


def expected_zeros(model, sparsity=0.8):
    return {path: round(sparsity * value.size) for path, value in kernels(model).items()}


def loop(model, step, *callbacks, epochs=2):
    """A loop of the user's own: `step(images, labels)` trains on one batch."""
    watch = Watch()
    hooks = keras.callbacks.CallbackList([*callbacks, watch], model=model, epochs=epochs, steps=STEPS)
    hooks.on_train_begin()
    for epoch in range(epochs):
        hooks.on_epoch_begin(epoch)
        for batch in range(STEPS):
            hooks.on_train_batch_begin(batch)
            here = slice(batch * BATCH, (batch + 1) * BATCH)
            step(IMAGES[here], LABELS[here])
            hooks.on_train_batch_end(batch, {})
        hooks.on_epoch_end(epoch, {})
    hooks.on_train_end({})
    return watch.seen


def gradient_step(model, optimizer):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(images, labels):
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))

    return step


def assert_exact(model, seen):
    assert len(seen) == 2 * STEPS
    assert all(zeros_then == expected_zeros(model) for zeros_then in [*seen, zeros(model)])
    assert all(compat.get_constraint(weight) is None for weight in model.trainable_weights)


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize(
    "make", [Segmenter, built(Segmenter), conformance.sequential], ids=["unbuilt", "built", "sequential"]
)
def test_train_on_batch(make, run_eagerly):
    model = compiled(make(), run_eagerly=run_eagerly)
    assert_exact(model, loop(model, model.train_on_batch, PruningScheduleCallback(0.8)))


def test_train_on_batch_of_a_model_that_was_fitted_before(tmp_path):
    """`model.history` is that of the earlier fit: nobody will call it again."""
    model = compiled(conformance.functional())
    fit(model)
    export = ExportQuantizedCallback(tmp_path, ("float32",), evaluation_data=(IMAGES, LABELS), verbose=0)
    callbacks = export, ClusterOnTrainEndCallback(6), PruningScheduleCallback(0.8)
    assert_exact(model, loop(model, model.train_on_batch, *callbacks))
    assert all(np.unique(value).size <= 6 for value in kernels(model).values())
    assert export.report["formats"]["float32"]["largest_difference"] < 1e-4
    fit(model)
    assert sum(zeros(model).values()) < 10


@pytest.mark.parametrize("is_traced", [False, True], ids=["eager", "tf_function"])
@pytest.mark.parametrize("is_compiled", [False, True], ids=["plain", "compiled"])
def test_a_gradient_tape(is_traced, is_compiled):
    model = conformance.functional()
    optimizer = keras.optimizers.Adam(1e-2)
    if is_compiled:
        compiled(model, optimizer=optimizer)
    step = gradient_step(model, optimizer)
    step = tf.function(step) if is_traced else step
    assert_exact(model, loop(model, step, PruningScheduleCallback(0.8)))


def test_a_traced_step_trains_every_weight_when_the_callback_is_gone():
    """The user's tf.function was traced with our constraint, and nobody can take it out of there."""
    model = conformance.functional()
    step = tf.function(gradient_step(model, keras.optimizers.Adam(1e-2)))
    loop(model, step, callback := PruningScheduleCallback(0.8))
    assert {path: mask.size - mask.sum() for path, mask in callback.lifecycle.told.masks.items()}  # still told
    for _ in range(STEPS):
        step(IMAGES, LABELS)
    assert sum(zeros(model).values()) < 10


def test_a_step_traced_before_is_noticed():
    model = conformance.functional()
    step = tf.function(gradient_step(model, keras.optimizers.Adam(1e-2)))
    step(IMAGES[:8], LABELS[:8])
    with pytest.warns(UserWarning, match="traced before training began"):
        seen = loop(model, step, PruningScheduleCallback(0.8))
    assert_exact(model, seen)


def test_a_gradient_tape_builds_the_model_in_its_first_step():
    """The masks begin behind it."""
    model = Segmenter()
    seen = loop(model, gradient_step(model, keras.optimizers.Adam(1e-2)), PruningScheduleCallback(0.8))
    assert_exact(model, seen)


def test_a_traced_step_that_builds_the_model_is_noticed():
    model = Segmenter()
    step = tf.function(gradient_step(model, keras.optimizers.Adam(1e-2)))
    with pytest.warns(UserWarning, match="traced before training began"):
        seen = loop(model, step, PruningScheduleCallback(0.8))
    assert_exact(model, seen)


def test_clusters_of_a_model_that_a_gradient_tape_builds():
    model = Segmenter()
    loop(model, gradient_step(model, keras.optimizers.Adam(1e-2)), ClusterOnTrainEndCallback(4))
    assert all(np.unique(value).size <= 4 for value in kernels(model).values())


def test_a_schedule_is_followed_step_by_step():
    model = compiled(conformance.functional())
    callback = PruningScheduleCallback(PolynomialDecay(0.0, 0.8, 0, 6, frequency=1))
    totals = [sum(seen.values()) for seen in loop(model, model.train_on_batch, callback)]
    assert totals == sorted(totals)
    assert totals[4] < totals[5] == totals[7] == sum(expected_zeros(model).values())


def test_averages_that_the_loop_puts_in_place():
    model = conformance.functional()
    optimizer = keras.optimizers.Adam(1e-2, use_ema=True)
    compiled(model, optimizer=optimizer)

    class Finalize(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            optimizer.finalize_variable_values(self.model.trainable_variables)

    step = gradient_step(model, optimizer)
    assert_exact(model, loop(model, step, PruningScheduleCallback(0.8), Finalize()))


def test_hooks_called_one_by_one():
    """Without a CallbackList, each callback closes with the last of ours."""
    model = compiled(conformance.functional())
    callback = PruningScheduleCallback(0.8)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    for batch in range(3):
        model.train_on_batch(IMAGES[:8], LABELS[:8])
        callback.on_train_batch_end(batch)
        assert zeros(model) == expected_zeros(model)
    callback.on_epoch_end(0)
    callback.on_train_end()
    assert zeros(model) == expected_zeros(model)
    assert all(compat.get_constraint(weight) is None for weight in model.trainable_weights)


def test_a_loop_that_forgets_the_beginning_of_its_epoch():
    model = compiled(conformance.functional())
    hooks = keras.callbacks.CallbackList([PruningScheduleCallback(0.8)], model=model)
    hooks.on_train_begin()
    hooks.on_train_batch_begin(0)
    with pytest.raises(RuntimeError, match="call on_epoch_begin"):
        hooks.on_train_batch_end(0, {})


def test_after_a_loop_that_broke_off_the_same_hooks_begin_anew():
    model = compiled(conformance.functional())
    hooks = keras.callbacks.CallbackList([PruningScheduleCallback(0.8)], model=model)
    for _ in range(2):
        hooks.on_train_begin()
        hooks.on_epoch_begin(0)
        hooks.on_train_batch_begin(0)
        model.train_on_batch(IMAGES[:8], LABELS[:8])
        hooks.on_train_batch_end(0, {})
    hooks.on_train_end({})
    assert zeros(model) == expected_zeros(model)
    assert all(compat.get_constraint(weight) is None for weight in model.trainable_weights)
