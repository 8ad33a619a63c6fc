"""Distillation in an unchanged fit: against a training step written by hand, and nothing left behind."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import rel_entr, softmax

from segopt_callbacks import (
    ClusterScheduleCallback,
    DistillationCallback,
    PruningScheduleCallback,
    QuantizationAwareTrainingCallback,
    compat,
)
from segopt_callbacks.compat import keras
from tests.conformance import Segmenter, Watch
from tests.fit.test_strategy import results, start

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(24, 6)).astype("float32")
Y = RANDOM.integers(0, 3, 24).astype("int32")
WEIGHTS = RANDOM.uniform(size=24).astype("float32")
T, W = 3.0, 0.7
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
LEFT = ("train_step", "compute_loss", "call")


def random_weights(model, seed=0):
    """As if it had trained: no bias is constant."""
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(0, 0.5, one.shape) ** 2 + 0.1 for one in model.get_weights()])
    return model


def net(kind=keras.Model, seed=None, activation=None):
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")(inputs)
    answers = keras.layers.Dense(3, activation=activation, dtype="float32", name="head")(hidden)
    model = kind(inputs, answers)
    return model if seed is None else random_weights(model, seed)


def compiled(model, **settings):
    model.compile(**{"optimizer": keras.optimizers.SGD(0.1, momentum=0.9), "loss": LOSS, **settings})
    return model


def fit(model, *callbacks, data=(X, Y), epochs=2, **settings):
    settings = {"batch_size": 8, "shuffle": False, **settings}
    return model.fit(*data, epochs=epochs, verbose=0, callbacks=[*callbacks], **settings)


def difference(model, other):
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return max(abs(one - two).max() for one, two in pairs)


class ByHand(keras.Model):
    """Hinton's loss, as one writes it without a callback."""

    def train_step(self, data):
        x, y, weights = (*data, None)[:3]
        with tf.GradientTape() as tape:
            answers = self(x, training=True)
            own = LOSS(y, answers, sample_weight=weights)
            soft = [keras.activations.softmax(one / T) for one in (self.teacher(x, training=False), answers)]
            told = keras.losses.KLDivergence()(*soft, sample_weight=weights)
            loss = (1 - W) * own + W * T**2 * told
            scaled = loss
            if hasattr(self.optimizer, "inner_optimizer"):
                is_keras_2 = compat.is_keras_2(self)
                scaled = self.optimizer.get_scaled_loss(loss) if is_keras_2 else self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_variables)
        if scaled is not loss and compat.is_keras_2(self):
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


CASES = {
    "graph": {},
    "eager": {"run_eagerly": True},
    "jit": {"jit_compile": True},
    "mixed_float16": {},
}


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_a_step_written_by_hand(case):
    weight = {"sample_weight": WEIGHTS} if case in ("graph", "eager") else {}
    keras.mixed_precision.set_global_policy("mixed_float16" if case == "mixed_float16" else "float32")
    try:
        teacher = net(seed=1)
        model, hand = compiled(net(seed=2), **CASES[case]), compiled(net(ByHand, seed=2))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    hand.teacher = teacher
    hand.teacher.trainable = False  # an attribute of the model is part of it
    of_teacher = [one.copy() for one in teacher.get_weights()]
    history = fit(model, DistillationCallback(teacher, temperature=T, weight=W), **weight)
    fit(hand, **weight)
    tolerance = 2e-3 if case == "mixed_float16" else 2e-6
    for one, other in zip(model.get_weights(), hand.get_weights()[: len(model.get_weights())], strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    assert all(map(np.array_equal, teacher.get_weights(), of_teacher))
    assert 0 < history.history["distillation_loss"][-1] < history.history["distillation_loss"][0]


def test_the_log_shows_what_is_minimized_and_evaluations_the_plain_loss():
    model, teacher = compiled(net(seed=2), optimizer=keras.optimizers.SGD(0.0)), net(seed=1)
    history = fit(model, DistillationCallback(teacher, weight=W), validation_data=(X, Y)).history
    plain = model.evaluate(X, Y, verbose=0)
    assert history["val_loss"] == pytest.approx([plain] * 2, rel=1e-5)
    loss, told = history["loss"][0], history["distillation_loss"][0]
    assert loss == pytest.approx((1 - W) * plain + W * told, rel=1e-5)
    assert told > 0.01


def test_nothing_is_left_behind():
    model, teacher = compiled(net(seed=2), optimizer=keras.optimizers.SGD(0.1)), net(seed=1)
    before, variables = {name for name in LEFT if name in vars(model)}, [id(one) for one in model.variables]
    seen = Watch(lambda one: [id(variable) for variable in one.weights])
    fit(model, DistillationCallback(teacher), seen)
    assert seen.seen == [[id(one) for one in model.weights]] * 6
    assert [id(one) for one in model.variables][: len(variables)] == variables
    assert len(model.get_weights()) == len(teacher.get_weights())
    assert {name for name in LEFT if name in vars(model)} == before
    other = compiled(net(seed=2), optimizer=keras.optimizers.SGD(0.1))
    other.set_weights(model.get_weights())
    for one in (model, other):  # the first is not compiled anew
        fit(one)
    assert difference(model, other) == 0


@pytest.mark.either_keras
def test_an_error_in_a_fit_leaves_nothing_behind():
    class Broken(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyError("broken")

    model = compiled(net(seed=2))
    with pytest.raises(KeyError):
        fit(model, DistillationCallback(net(seed=1)), Broken())
    assert not [name for name in LEFT if name in vars(model)]


# --- the model's own weights of before -------------------------------------------------------------------------------

IMAGES = RANDOM.integers(0, 256, (16, 8, 8, 3)).astype("uint8")
MASKS = RANDOM.integers(0, 3, (16, 8, 8)).astype("int32")


class Raw(Segmenter):
    """Subclassed, cannot be cloned, takes bytes, and was built on images of another size."""

    def call(self, inputs, training=None):
        return super().call(tf.cast(inputs, tf.float32) / 255, training=training)


def raw(seed):
    model = Raw()
    model(tf.zeros((1, 16, 16, 3)))
    return random_weights(model, seed)


def all_at_once():
    return [
        PruningScheduleCallback(0.75),
        ClusterScheduleCallback(8, begin_step=1),
        QuantizationAwareTrainingCallback(freeze_at=1.0),
    ]


def test_a_model_teaches_itself_what_it_was_before_it_is_compressed():
    """As a copy of it does, whatever the order of the callbacks."""
    model, other = compiled(raw(2)), compiled(raw(2))
    history = fit(model, *all_at_once(), DistillationCallback(weight=W), data=(IMAGES, MASKS), epochs=1).history
    callbacks = [DistillationCallback(raw(2), weight=W), *all_at_once()[::-1]]
    told = fit(other, *callbacks, data=(IMAGES, MASKS), epochs=1).history
    assert difference(model, other) < 1e-6
    assert history["distillation_loss"] == pytest.approx(told["distillation_loss"], rel=1e-4)
    assert history["distillation_loss"][0] > 1e-3  # what is rounded and pruned answers otherwise
    assert history["sparsity"][-1] == pytest.approx(0.75, abs=0.01)


@pytest.mark.either_keras
def test_a_model_that_never_trained_is_no_teacher():
    for model in (net(), Raw()):
        with pytest.raises(ValueError, match="train it first, or pass a trained one as `teacher`"):
            fit(compiled(model), DistillationCallback(), data=(X, Y) if model.built else (IMAGES, MASKS))


@pytest.mark.either_keras
def test_a_resumed_fit_has_no_weights_of_before():
    model = compiled(net(seed=2))
    with pytest.raises(ValueError, match="save the model before you compress"):
        fit(model, DistillationCallback(), initial_epoch=1)


# --- what else a fit may be ------------------------------------------------------------------------------------------


class Calls(keras.Model):
    """Hands no `x` on, as in Keras' own guide."""

    times = 1

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            answers = [self(x, training=True) for _ in range(self.times)]
            loss = self.compute_loss(y=y, y_pred=answers[0])
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


class OwnLoss(keras.Model):
    """Without the argument `training`, which older models do not know."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return LOSS(y, y_pred, sample_weight=sample_weight)


class Forgets(keras.Model):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = LOSS(y, self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


class Compiled(Calls):
    train_step = tf.function(Calls.train_step)


@pytest.mark.parametrize("kind", [Calls, OwnLoss])
def test_a_step_or_loss_of_the_users(kind):
    model, other, teacher = compiled(net(kind, seed=2)), compiled(net(seed=2)), net(seed=1)
    for one in (model, other):
        fit(one, DistillationCallback(teacher, weight=W))
    assert difference(model, other) < 1e-6


class Twice(Calls):
    times = 2


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (Forgets, RuntimeError, "first step did not"),
        (Twice, ValueError, "calls the model 2 times"),
        (Compiled, ValueError, "@tf.function off it"),
    ],
)
def test_a_step_in_which_no_teacher_is_heard_is_refused(kind, error, message):
    model = compiled(net(kind, seed=2))
    with pytest.raises(error, match=message):
        fit(model, DistillationCallback(net(seed=1)))
    assert not [name for name in LEFT if name in vars(model)]


def test_loops_of_the_users():
    teacher, model, other = net(seed=1), compiled(net(seed=2)), compiled(net(seed=2))
    callback = DistillationCallback(teacher, weight=W)

    def loop(step, model):
        callback.set_model(model)
        callback.on_train_begin()
        callback.on_epoch_begin(0)
        for batch in range(3):
            step(X[8 * batch : 8 * batch + 8], Y[8 * batch : 8 * batch + 8])
            callback.on_train_batch_end(batch)
        callback.on_epoch_end(0, {})
        callback.on_train_end()

    loop(model.train_on_batch, model)
    fit(other, callback, epochs=1)
    assert difference(model, other) < 1e-6
    with pytest.raises(RuntimeError, match="first step did not"):
        loop(lambda x, y: model(x), model)


@pytest.mark.either_keras
def test_outputs_each_of_a_kind_of_its_own():
    def make(seed):
        inputs = keras.Input((6,))
        heads = {
            "classes": keras.layers.Dense(3, activation="softmax", name="classes")(inputs),
            "depth": keras.layers.Dense(1, name="depth")(inputs),
            "aside": keras.layers.Dense(2, name="aside")(inputs),
        }
        return random_weights(keras.Model(inputs, heads), seed)

    model, teacher = make(2), make(1)
    losses = {"classes": "sparse_categorical_crossentropy", "depth": "mse", "aside": "mse"}
    targets = {"classes": Y, "depth": X[:, :1], "aside": X[:, :2]}
    model.compile(keras.optimizers.SGD(0.0), losses)
    outputs = {"classes": "probabilities", "depth": "values", "aside": None}
    callback = DistillationCallback(teacher, temperature=1.0, outputs=outputs)
    history = fit(model, callback, data=(X, targets), epochs=1).history
    ours, theirs = (one.predict(X, verbose=0) for one in (model, teacher))
    expected = keras.losses.KLDivergence()(theirs["classes"], ours["classes"])
    expected += np.square(theirs["depth"] - ours["depth"]).mean()
    assert history["distillation_loss"] == [pytest.approx(float(expected), rel=1e-4)]


def test_positions_that_a_mask_hides_do_not_count():
    def make(seed):
        inputs = keras.Input((5,), dtype="int32")
        hidden = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
        return random_weights(keras.Model(inputs, keras.layers.Dense(3)(hidden)), seed)

    words = RANDOM.integers(0, 9, (8, 5)).astype("int32") * np.tri(8, 5, 2, dtype="int32")
    model, teacher = compiled(make(2), optimizer=keras.optimizers.SGD(0.0)), make(1)
    callback = DistillationCallback(teacher, temperature=1.0)
    history = fit(model, callback, data=(words, np.ones((8, 5), "int32")), epochs=1).history
    soft = [softmax(one.predict(words, verbose=0).astype("float64"), axis=-1) for one in (teacher, model)]
    assert history["distillation_loss"] == [pytest.approx(rel_entr(*soft).sum(-1)[words != 0].mean(), rel=1e-4)]


def test_two_replicas_learn_what_one_does():
    (seen,) = results([start("distillation")])
    assert max(seen["differences"]) < 1e-5
    for one, other in zip(seen["histories"][:2], seen["histories"][2:], strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.either_keras
def test_teachers_that_cannot_teach_are_refused():
    with pytest.raises(ValueError, match="must be a Keras model, a function"):
        DistillationCallback("teacher.keras")
    with pytest.raises(ValueError, match="must have its weights"):
        DistillationCallback(Segmenter())
    model = compiled(net(seed=2))
    for teacher, message in (
        (model, "shares '"),
        (keras.Model(model.input, model.get_layer("hidden").output), "shares '"),
        (lambda x: x, "must answer as its student does"),
        (net(seed=1, activation="softmax"), "say outputs='probabilities'"),
        (lambda x: x[:, :3] * float("nan"), "must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(model, DistillationCallback(teacher))
        assert not [name for name in LEFT if name in vars(model)]
    with pytest.raises(ValueError, match="can have one DistillationCallback"):
        fit(model, *(DistillationCallback(net(seed=1)) for _ in range(2)))
