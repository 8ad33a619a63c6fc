"""Odd models: what becomes of each is stated here and in docs/situations.md."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import PruningScheduleCallback, cluster_model, compat
from segopt_callbacks.compat import keras
from segopt_callbacks.model.weights import select_weights
from tests.conformance import Watch, compiled, fit, functional, kernels, sequential
from tests.fit.exact import expected, fit_exactly, schedule

DATA = (
    np.random.default_rng(0).normal(size=(32, 8)).astype("float32"),
    np.random.default_rng(1).normal(size=(32, 4)).astype("float32"),
)
IS_KERAS_2 = compat.is_keras_2(keras.layers.ReLU())


def dense(**arguments):
    layers = [keras.layers.Dense(6, name="first", **arguments), keras.layers.Dense(4, name="last", **arguments)]
    return keras.Sequential([keras.Input((8,)), *layers])


def around(layer, shape=(8,)):
    """A model of one layer and a head."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, keras.layers.Dense(4, name="last")(keras.layers.Flatten()(layer(inputs))))


def ready(model, **arguments):
    model.compile(**{"optimizer": keras.optimizers.SGD(0.01), "loss": "mse", **arguments})
    return model


def called(*names):
    """Chooses trainable weights by the end of their paths: what the test expects to be pruned."""

    def choose(model):
        paths = {compat.variable_path(weight): compat.read(weight) for weight in model.trainable_weights}
        return {path: value for path, value in paths.items() if path.endswith(names)}

    return choose


def refused(model, *callbacks, match, data=DATA, how="refused"):
    """Asserts that the fit is refused and the model let go: a plain fit trains every weight. Returns the outcome."""
    constraints = [compat.get_constraint(weight) for weight in model.trainable_weights]
    with pytest.raises(ValueError, match=match) as refusal:
        model.fit(*data, batch_size=8, epochs=2, verbose=0, callbacks=[*callbacks])
    now = [compat.get_constraint(weight) for weight in model.trainable_weights]
    assert now == (constraints or [None] * len(now))
    if model.trainable_weights:
        model.fit(*data, batch_size=8, verbose=0)
    return f"{how}: " + str(refusal.value).partition(" Received: ")[0]


def zeros_of(*weights):
    return [int((compat.read(weight) == 0).sum()) for weight in weights]


# --- nothing to prune, or the same twice -----------------------------------------------------------------------------


def test_nothing_to_prune(outcome):
    model = ready(keras.Sequential([keras.Input((8,)), keras.layers.BatchNormalization(), keras.layers.ReLU()]))
    data = (DATA[0], DATA[0])
    outcome(refused(model, PruningScheduleCallback(0.5), match="must have a trainable weight of rank 2", data=data))


@pytest.mark.parametrize("make", [functional, sequential], ids=["built", "unbuilt"])
def test_filters_that_match_nothing(outcome, make):
    model = compiled(make())
    with pytest.raises(ValueError, match="must match a weight.*'nowhere'.*Available: .*kernel") as refusal:
        fit(model, PruningScheduleCallback(0.5, "nowhere"))
    fit(model)  # nothing of the refused fit is left
    assert all(count < 5 for count in zeros_of(*model.trainable_weights[:1]))
    outcome("refused: " + str(refusal.value).partition(" Received: ")[0])


def test_two_callbacks_on_one_weight(outcome):
    model = ready(dense())
    two = PruningScheduleCallback(0.5), PruningScheduleCallback(0.6, "first")
    outcome(refused(model, *two, match="can belong to one PruningScheduleCallback only.*first/kernel"))


def test_a_shared_layer(outcome):
    shared, inputs = keras.layers.Dense(8, name="shared"), keras.Input((8,))
    model = ready(keras.Model(inputs, keras.layers.Dense(4, name="last")(shared(shared(inputs)))))
    assert len(select_weights(model)) == 2
    outcome(fit_exactly(model, *DATA))


class Tied(keras.layers.Layer):
    """Decodes with the transposed kernel of another layer, which it holds too, and under a second name of its own."""

    def __init__(self, source, **kwargs):
        super().__init__(**kwargs)
        self.source = source

    def build(self, input_shape):
        self.again = self.source.kernel
        self.built = True

    def call(self, inputs):
        return tf.matmul(inputs, tf.convert_to_tensor(self.again), transpose_b=True)


def test_a_weight_under_two_names(outcome):
    encoder, inputs = keras.layers.Dense(4, name="encoder"), keras.Input((8,))
    model = ready(keras.Model(inputs, Tied(encoder)(encoder(inputs))))
    assert len(select_weights(model)) == 1
    outcome(fit_exactly(model, DATA[0], DATA[0]))


# --- what does not train ---------------------------------------------------------------------------------------------


def test_a_frozen_layer(outcome):
    model = dense()
    model.layers[0].trainable = False
    kernel = compat.read(model.layers[0].kernel)
    stated = fit_exactly(ready(model), *DATA, weights=called("last/kernel"))
    np.testing.assert_array_equal(compat.read(model.layers[0].kernel), kernel)
    outcome(f"left alone; the others {stated}")


def test_a_layer_that_is_frozen_between_two_fits(outcome):
    model = dense()
    watch = Watch(lambda fitted: zeros_of(fitted.layers[0].kernel, fitted.layers[1].kernel))
    callbacks, expected_zeros = [watch, PruningScheduleCallback(0.75), watch], [36, 18]
    for trains in (True, False, True):
        model.layers[0].trainable = trains
        before = compat.read(model.layers[0].kernel)
        ready(model).fit(*DATA, batch_size=8, verbose=0, callbacks=callbacks)
        assert np.array_equal(compat.read(model.layers[0].kernel), before) is not trains
    assert watch.seen == [expected_zeros] * 24
    outcome("exact, 12 steps: it keeps its zeros while it is frozen")


def test_a_layer_that_is_frozen_after_compile(outcome):
    """Keras 2 goes on training it until the model is compiled again; what trains is pruned."""
    model = ready(dense())
    model.layers[0].trainable = False
    before = compat.read(model.layers[0].kernel)
    trains = model.layers if IS_KERAS_2 else model.layers[1:]
    stated = fit_exactly(model, *DATA, weights=lambda _: {one.name: compat.read(one.kernel) for one in trains})
    assert np.array_equal(compat.read(model.layers[0].kernel), before) is not IS_KERAS_2
    outcome(f"trains on until compiled again: {stated}" if IS_KERAS_2 else f"left alone; the others {stated}")


def test_every_layer_frozen(outcome):
    model = dense()
    model.trainable = False
    match = r"unfreeze layers.*not trainable: \[.*first/kernel \(float32\)"
    outcome(refused(ready(model), PruningScheduleCallback(0.5), match=match))


def keras_3_only(what):
    return pytest.mark.skipif(IS_KERAS_2, reason=f"Keras 2 has no {what}")


@keras_3_only("LoRA")
def test_a_layer_with_lora(outcome):
    model = dense()
    model.layers[0].enable_lora(2)
    kernel = compat.read(model.layers[0]._kernel)
    with pytest.warns(UserWarning, match=r"kernel \+ A @ B.*Left out: .*first/lora_kernel_a"):
        stated = fit_exactly(ready(model), *DATA, weights=called("last/kernel"))
    np.testing.assert_array_equal(compat.read(model.layers[0]._kernel), kernel)
    outcome(f"left out with a warning; the others {stated}")


@keras_3_only("LoRA")
def test_lora_in_every_layer(outcome):
    model = dense()
    for layer in model.layers:
        layer.enable_lora(2)
    match = r"must have a trainable weight.*LoRA factors are left out.*last/lora_kernel_b"
    outcome(refused(ready(model), PruningScheduleCallback(0.5), match=match))
    with pytest.raises(ValueError, match="must match a weight.*LoRA factors are left out"):
        select_weights(model, "lora")


@keras_3_only("LoRA")
def test_lora_factors_that_a_predicate_takes(outcome):
    model = dense()
    model.layers[0].enable_lora(4, b_initializer="he_uniform")
    factors = called("lora_kernel_a", "lora_kernel_b")
    outcome(fit_exactly(ready(model), *DATA, weights=factors, filters=lambda variable: "lora_" in variable.path))


@keras_3_only("LoRA")
def test_a_filter_that_is_not_about_lora_says_nothing_of_it():
    model = dense()
    model.layers[0].enable_lora(2)
    assert [path.endswith("last/kernel") for path in select_weights(model, "last")] == [True]


@keras_3_only("LoRA")
def test_lora_merged_as_the_warning_says(outcome, tmp_path):
    with_lora, model = dense(), dense()
    with_lora.layers[0].enable_lora(2, b_initializer="he_uniform")
    with_lora.save_weights(tmp_path / "merged.weights.h5")
    model.load_weights(tmp_path / "merged.weights.h5")
    np.testing.assert_allclose(model.predict(DATA[0], verbose=0), with_lora.predict(DATA[0], verbose=0), rtol=1e-4)
    outcome(fit_exactly(ready(model), *DATA))


@keras_3_only("quantized layers")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantized_layer(outcome, mode):
    model = dense()
    model.layers[0].quantize(mode)
    stated = fit_exactly(ready(model), *DATA, weights=called("last/kernel"))
    outcome(f"left alone; the others {stated}")


@keras_3_only("quantized layers")
def test_every_layer_quantized(outcome):
    model = dense()
    for layer in model.layers:
        layer.quantize("int8")
    match = r"must have a trainable weight.*not trainable: \[.*first/kernel \(int8\)"
    outcome(refused(ready(model), PruningScheduleCallback(0.5), match=match))


@keras_3_only("quantized layers")
def test_a_float8_layer_trains_its_kernel(outcome):
    model = dense()
    model.layers[0].quantize("float8")
    outcome(fit_exactly(ready(model), *DATA))


# --- dtypes and values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_of_another_precision(outcome, dtype):
    model = dense(dtype=dtype)
    stated = fit_exactly(ready(model), *DATA)
    assert {compat.raw_variable(weight).dtype.name for weight in model.trainable_weights} == {dtype}
    outcome(stated)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(outcome, value):
    model = ready(dense())
    weights, kernel = model.get_weights(), compat.read(model.layers[1].kernel)
    compat.assign(model.layers[1].kernel, np.where(kernel == kernel[2, 3], value, kernel))
    match = r"must be finite.*last/kernel'%s 1 of 24 values NaN or infinite"
    with pytest.raises(ValueError, match=match % ","):
        cluster_model(model)
    stated = refused(model, PruningScheduleCallback(0.5), match=match % " at step 0,")
    model.set_weights(weights)
    fit_exactly(ready(model), *DATA)  # compiled anew: the optimizer's momentum is not finite either
    outcome(stated)


def test_training_that_diverges_before_a_change_of_the_masks(outcome):
    model = ready(dense(), optimizer=keras.optimizers.SGD(1e30))
    match = r"must be finite.*first/kernel' at step 3, \d+ of 48 values NaN or infinite"
    outcome(refused(model, PruningScheduleCallback(schedule), match=match, how="stopped at that change"))


def test_training_that_diverges_while_the_masks_are_held(outcome):
    model = ready(dense(), optimizer=keras.optimizers.SGD(1e30))
    fit_args = {"batch_size": 8, "shuffle": False, "verbose": 0}
    model.fit(*DATA, callbacks=[PruningScheduleCallback(0.5)], **fit_args)
    assert np.isnan(compat.read(model.layers[0].kernel)).any()
    assert zeros_of(model.layers[0].kernel, model.layers[1].kernel) == [24, 12]
    outcome("exact, 4 steps: zeros stay zeros, whatever becomes of the rest")


class Odd(keras.layers.Layer):
    """Trains beside its kernel a weight of another dtype, and weights of one value or none."""

    def __init__(self, dtype, **kwargs):
        super().__init__(**kwargs)
        self.other = dtype

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(8, 4), initializer="glorot_uniform")
        self.odd = self.add_weight(name="odd", shape=(8, 4), dtype=self.other, initializer="ones", trainable=True)
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        self.single = self.add_weight(name="single", shape=(1, 1), initializer="ones")
        self.nothing = self.add_weight(name="nothing", shape=(0, 4), initializer="ones")
        self.built = True

    def call(self, inputs):
        extra = tf.reduce_sum(tf.cast(tf.convert_to_tensor(self.odd), tf.float32)) * 0.0
        none = tf.reduce_sum(tf.convert_to_tensor(self.nothing))
        return inputs @ self.kernel * self.scale * self.single + extra + none


def odd(dtype="float32"):
    return ready(keras.Sequential([keras.Input((8,)), Odd(dtype)]))


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")  # Keras: there is none of an integer
@pytest.mark.filterwarnings("ignore:You are casting an input of type complex:UserWarning")
@pytest.mark.parametrize("dtype", ["complex64", "int32"])
def test_trainable_weights_that_are_not_floating_point(outcome, dtype):
    model = odd(dtype)
    assert not any(path.endswith("odd") for path in select_weights(model))
    with pytest.raises(ValueError, match=rf"floating-point weights only.*odd \({dtype}\)"):
        select_weights(model, lambda variable: len(variable.shape) == 2)
    stated = fit_exactly(model, *DATA, weights=called("kernel", "single"))
    outcome(f"left alone; the others {stated}")


def test_a_kernel_of_one_value(outcome):
    model = odd()
    stated = fit_exactly(model, *DATA, weights=called("kernel", "odd", "single"))
    assert zeros_of(model.layers[-1].single) == [0]
    outcome(f"stays, since one value of each weight does; the others {stated}")


def test_a_kernel_of_no_value(outcome):
    model = odd()
    assert not any(path.endswith("nothing") for path in select_weights(model))
    outcome("left alone; the others " + fit_exactly(model, *DATA, weights=called("kernel", "odd", "single")))


def test_a_scalar(outcome):
    model = odd()
    assert not any(path.endswith("scale") for path in select_weights(model))
    fit_exactly(model, *DATA, weights=called("scale"), filters=lambda variable: len(variable.shape) == 0)
    assert zeros_of(model.layers[-1].scale) == [0]
    outcome("left alone; stays even if a predicate takes it")


def test_a_kernel_of_zeros(outcome):
    """All magnitudes are equal: which weights are pruned is arbitrary, but they are as many, and they stay zero."""
    model = ready(dense())
    compat.assign(model.layers[1].kernel, np.zeros((6, 4)))
    watch = Watch(lambda fitted: zeros_of(fitted.layers[0].kernel, fitted.layers[1].kernel))
    model.fit(*DATA, batch_size=8, verbose=0, callbacks=[watch, PruningScheduleCallback(0.5), watch])
    assert watch.seen == [[24, 12]] * 8
    outcome("exact, 4 steps; among equal magnitudes the first go, so let the schedule begin later")


# --- two axes or more, and no kernel ---------------------------------------------------------------------------------


class Attends(keras.layers.Layer):
    """Its biases have two axes, one for each head."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attend = keras.layers.MultiHeadAttention(2, 3, name="attend")

    def build(self, input_shape):
        self.attend.build(input_shape, input_shape) if not IS_KERAS_2 else None
        super().build(input_shape)

    def call(self, inputs):
        return self.attend(inputs, inputs)


class Positions(keras.layers.Layer):
    def build(self, input_shape):
        self.table = self.add_weight(name="position_embedding", shape=input_shape[1:], initializer="glorot_uniform")

    def call(self, inputs):
        return inputs + self.table


@pytest.mark.parametrize(
    ("make", "left_alone"),
    [
        (Attends, "bias"),
        (lambda: keras.layers.GRU(4, name="gru"), "bias"),
        (lambda: keras.layers.LayerNormalization(axis=[1, 2]), "gamma"),
        (lambda: keras.layers.PReLU(alpha_initializer="ones"), "alpha"),
        (Positions, "position_embedding"),
    ],
    ids=["attention", "recurrent", "normalization", "prelu", "positions"],
)
def test_two_axes_and_no_kernel(outcome, make, left_alone):
    model = ready(around(make(), (8, 1)))
    assert any(
        len(weight.shape) > 1 and compat.variable_path(weight).endswith(left_alone)
        for weight in model.trainable_weights
    )
    before = {path: int((value == 0).sum()) for path, value in called(left_alone)(model).items()}
    stated = fit_exactly(model, *DATA, weights=called("kernel"))
    after = {path: int((value == 0).sum()) for path, value in called(left_alone)(model).items()}
    assert all(after[path] <= before[path] for path in before)
    outcome(f"left alone; the kernels {stated}")


def test_embeddings(outcome):
    layers = [keras.layers.Embedding(10, 4), keras.layers.Flatten(), keras.layers.Dense(4, name="last")]
    model = ready(keras.Sequential([keras.Input((8,)), *layers]))
    tokens = np.random.default_rng(0).integers(0, 10, (32, 8))
    stated = fit_exactly(model, tokens, DATA[1], weights=called("kernel"))
    assert zeros_of(model.layers[0].embeddings) == [0]
    outcome(f"left alone; the kernels {stated}")


class Mixing(keras.layers.Layer):
    def build(self, input_shape):
        self.mixing = self.add_weight(name="mixing", shape=(input_shape[-1], 6), initializer="glorot_uniform")

    def call(self, inputs):
        return inputs @ self.mixing


def test_the_matrix_of_a_custom_layer(outcome):
    outcome(fit_exactly(ready(around(Mixing())), *DATA, weights=called("mixing", "kernel")))


def test_kernels_that_no_layer_calls_kernel(outcome):
    """Separable and depthwise convolutions and recurrent layers have no attribute `kernel` (or two)."""
    inputs = keras.Input((8, 1))
    hidden = keras.layers.SeparableConv1D(4, 3)(inputs)
    hidden = keras.layers.LSTM(4, return_sequences=True)(hidden)
    hidden = keras.layers.DepthwiseConv1D(3)(hidden)
    model = ready(keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(hidden))))
    assert len(kernels(model)) == 6
    assert expected(kernels(model), 0.5) != {}
    outcome(fit_exactly(model, *DATA))
