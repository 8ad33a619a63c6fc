"""What the optimizer never receives, or inference never reads, is not compressed unless a filter names it."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ConstantSparsity,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    compat,
)
from segopt_callbacks.compat import keras

X = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
Y = np.zeros((64, 4), "float32")
ALONE = pytest.mark.filterwarnings("ignore:Weights are left alone")


def net(name):
    layers = [keras.layers.Dense(16, activation="relu", name=f"{name}_a"), keras.layers.Dense(4, name=f"{name}_b")]
    return keras.Sequential([keras.Input((8,)), *layers], name=name)


class Distiller(keras.Model):
    """A student that learns from a teacher, and an average of it; `call` is the student, or missing."""

    def __init__(self):
        super().__init__()
        self.student, self.teacher, self.average = net("student"), net("teacher"), net("average")

    def call(self, x):
        return self.student(x)

    def train_step(self, data):
        x, _ = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.student(x) - self.teacher(x)) ** 2)
        weights = self.student.trainable_variables
        self.optimizer.apply_gradients(list(zip(tape.gradient(loss, weights), weights, strict=True)))
        for average, weight in zip(self.average.trainable_variables, weights, strict=True):
            average.assign(0.5 * tf.convert_to_tensor(average) + 0.5 * tf.convert_to_tensor(weight))
        return {"loss": loss}


class WithoutCall(Distiller):
    def call(self, x):
        raise NotImplementedError("it is never called")


class Frozen(keras.layers.Layer):
    """Trainable by its account, without a gradient."""

    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(8)

    def build(self, shape):
        self.inner.build(shape)
        self.built = True

    def call(self, x):
        return tf.stop_gradient(self.inner(x))


class Gan(keras.Model):
    """Two optimizers of its own; that of Keras updates nothing."""

    def __init__(self):
        super().__init__()
        self.generator = net("generator")
        self.discriminator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, name="judge_a")], name="judge")

    def compile(self):
        super().compile()
        self.optimizers = {part: keras.optimizers.Adam(0.01) for part in ("generator", "discriminator")}

    def call(self, x):
        return self.generator(x)

    def train_step(self, data):
        x, real = data
        with tf.GradientTape() as one, tf.GradientTape() as other:
            told, true = self.discriminator(self.generator(x)), self.discriminator(real)
            fooled = tf.reduce_mean((told - 1.0) ** 2)
            seen = tf.reduce_mean(told**2) + tf.reduce_mean((true - 1.0) ** 2)
        for part, tape, loss in (("generator", one, fooled), ("discriminator", other, seen)):
            weights = getattr(self, part).trainable_variables
            pairs = zip(tape.gradient(loss, weights), weights, strict=True)
            self.optimizers[part].apply_gradients(list(pairs))
        return {"loss": fooled}


class GanWithoutCall(Gan):
    def call(self, x):
        raise NotImplementedError("it is never called")


def values(model):
    return [compat.read(one).copy() for one in model.weights]


def share(model):
    kernels = [compat.read(one) for one in model.weights if len(one.shape) == 2]
    return sum((one == 0).sum() for one in kernels) / sum(one.size for one in kernels)


@pytest.mark.parametrize(
    ("make", "why"), [(Distiller, "inference never reads"), (WithoutCall, "no step of the model's optimizer")]
)
@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}], ids=str)
def test_a_teacher_and_an_average_stay_as_they_are_and_it_is_said_once(make, why, options):
    model = make()
    model.compile("adam", **options)
    teacher, average = values(model.teacher), [values(model.average)]

    class Follow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            student = values(model.student)
            average.append([0.5 * one + 0.5 * other for one, other in zip(average[-1], student, strict=True)])

    callbacks = [Follow(), PruningScheduleCallback(0.75), ClusterOnTrainEndCallback(4)]
    with pytest.warns(UserWarning, match=why) as told:
        history = model.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=callbacks)
    assert len(told) == 1
    assert history.history["sparsity"] == [0.75, 0.75]
    assert share(model.student) == 0.75
    assert len(np.unique(compat.read(model.student.layers[0].kernel))) <= 4
    assert all(np.array_equal(one, other) for one, other in zip(values(model.teacher), teacher, strict=True))
    # The student is followed as the step left it, but for what is clustered when the fit has ended.
    for one, other in zip(values(model.average), average[-1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The training step runs no constraint")
@pytest.mark.parametrize("make", [Distiller, WithoutCall])
def test_a_filter_of_its_own_names_a_teacher(make):
    model = make()
    model.compile("adam")
    model.fit(X, Y, verbose=0, callbacks=[PruningScheduleCallback(0.75, "teacher")])
    assert (share(model.teacher), share(model.student)) == (0.75, 0.0)


@ALONE
def test_a_filter_that_takes_others_too_does_not_name_it():
    model = Distiller()
    model.compile("adam")
    model.fit(X, Y, verbose=0, callbacks=[PruningScheduleCallback(0.75, "kernel")])
    assert (share(model.teacher), share(model.student)) == (0.0, 0.75)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_what_has_no_gradient_gets_its_values_back_and_counts_for_nothing(scope):
    frozen = Frozen()
    model = keras.Sequential([keras.Input((8,)), frozen, keras.layers.Dense(16), keras.layers.Dense(4)])
    model.compile("adam", "mse")
    before = values(frozen)
    with pytest.warns(UserWarning, match="no step of the model's optimizer"):
        history = model.fit(X, Y, batch_size=16, verbose=0, callbacks=[PruningScheduleCallback(0.5, scope=scope)])
    assert all(np.array_equal(one, other) for one, other in zip(values(frozen), before, strict=True))
    assert history.history["sparsity"] == [0.5]
    trained = [compat.read(layer.kernel) for layer in model.layers[-2:]]
    assert sum((one == 0).sum() for one in trained) == sum(one.size for one in trained) // 2


def test_the_discriminator_of_a_gan_with_two_optimizers_is_left_alone():
    """Inference reads the generator alone; the optimizer of Keras receives nothing."""
    model = Gan()
    model.compile()
    before = values(model.generator)
    with pytest.warns(UserWarning, match=r"inference never reads them: \S*judge_a/kernel"):
        history = model.fit(X, Y, batch_size=16, verbose=0, callbacks=[PruningScheduleCallback(0.75)])
    assert history.history["sparsity"] == [0.75]
    assert (share(model.generator), share(model.discriminator)) == (0.75, 0.0)
    assert not any(np.array_equal(one, other) for one, other in zip(values(model.generator), before, strict=True))


@pytest.mark.parametrize(("filters", "shares"), [(None, (0.75, 0.75)), ("generator", (0.75, 0.0))])
def test_of_a_gan_without_a_call_filters_tell_what_is_for_inference(filters, shares):
    model = GanWithoutCall()
    model.compile()
    model.fit(X, Y, batch_size=16, verbose=0, callbacks=[PruningScheduleCallback(0.75, filters)])
    assert (share(model.generator), share(model.discriminator)) == shares


@ALONE
def test_where_nothing_is_left_it_is_refused():
    class Averaged(Distiller):
        def call(self, x):
            return self.average(x)

    model = Averaged()
    model.compile("adam")
    with pytest.raises(ValueError, match="must train weights that inference reads"):
        model.fit(X, Y, verbose=0, callbacks=[PruningScheduleCallback(ConstantSparsity(0.5, 0))])


@pytest.mark.filterwarnings("ignore:A loop over")
def test_a_fit_after_a_loop_that_never_ended_trains_every_weight():
    model = net("student")
    model.compile("adam", "mse")
    callbacks = keras.callbacks.CallbackList([PruningScheduleCallback(0.75)], model=model)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_train_batch_begin(0)
    model.train_on_batch(X, Y)
    callbacks.on_train_batch_end(0)
    assert share(model) == 0.75
    with pytest.warns(UserWarning, match="never came to its end"):
        model.fit(X, Y + X[:, :4], batch_size=16, verbose=0)
    assert share(model) < 0.3
    assert "fit" not in vars(model)


def test_a_fit_after_one_that_a_callback_broke_off_trains_every_weight():
    class Breaking(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("broken")

    model = net("student")
    model.compile("adam", "mse")
    with pytest.raises(RuntimeError, match="broken"):
        model.fit(X, Y, verbose=0, callbacks=[PruningScheduleCallback(0.75), Breaking()])
    model.fit(X, Y + X[:, :4], batch_size=16, verbose=0)
    assert share(model) < 0.3


@pytest.mark.filterwarnings("ignore:Layer 'unbuilt' looks like it has unbuilt state", "ignore:`build\\(\\)` was called")
def test_what_can_neither_be_built_nor_called_says_what_to_do():
    class Unbuilt(WithoutCall):
        def __init__(self):
            super().__init__()
            self.student = keras.Sequential([keras.layers.Dense(4)])

    model = Unbuilt()
    model.compile("adam")
    with pytest.raises(ValueError, match="call the model once"):
        model.fit(X, Y, verbose=0, callbacks=[PruningScheduleCallback(0.5)])


def of_the_users(inner):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner, self.head = inner, keras.layers.Dense(4)

        def call(self, x):
            return self.head(self.inner(x)[0])

    return Own()


def functional(inner):
    inputs = keras.Input((8,))
    return keras.Model(inputs, keras.layers.Dense(4)(inner(inputs)[0]))


@pytest.mark.parametrize("around", [of_the_users, functional])
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
def test_what_only_an_unused_output_of_a_nested_model_reads_is_left_alone_and_missed_in_no_file(around, tmp_path):
    inputs = keras.Input((8,))
    hidden = keras.layers.Dense(16, name="asked")(inputs)
    model = around(keras.Model(inputs, [hidden, keras.layers.Dense(4, name="pooled")(hidden)]))
    model(X[:1])
    model.compile("adam", "mse")
    export = ExportQuantizedCallback(
        tmp_path, ("float32",), evaluation_data=(X, Y), latency=False, remove_channels=False, verbose=0
    )
    with pytest.warns(UserWarning, match="left alone since inference never reads them: .*pooled/kernel"):
        history = model.fit(X, Y, batch_size=16, verbose=0, callbacks=[PruningScheduleCallback(0.75), export])
    assert history.history["sparsity"] == [0.75]
    entry = export.report["formats"]["float32"]
    assert (entry["zeros"], entry["elements"], entry.get("warnings")) == (0.75, 8 * 16 + 16 * 4, None)
