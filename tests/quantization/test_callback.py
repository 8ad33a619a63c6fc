"""Training against rounding: what is computed meanwhile, what is learned, and what is left of it afterwards."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import ExportQuantizedCallback, QuantizationAwareTrainingCallback, compat
from segopt_callbacks.compat import keras
from segopt_callbacks.quantization.calibration import rounded
from segopt_callbacks.quantization.ranges import FEW, Range
from segopt_callbacks.quantization.sites import Sites
from tests.conformance import IMAGES, LABELS, Outer, Segmenter, Watch, built, compiled, fit
from tests.fit.test_strategy import results, start

X = np.random.default_rng(0).uniform(-1, 1, (8, 6)).astype("float32")
Y = np.random.default_rng(1).uniform(size=(8, 3)).astype("float32")


def dense(learning_rate=0.0):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(5, activation="relu"), keras.layers.Dense(3, name="last")]
    )
    model.compile(keras.optimizers.SGD(learning_rate), "mse")
    return model


def is_the_users(model):
    """Nothing of the simulation is left in any layer, and inference is that of the weights alone."""
    for layer in compat.all_layers(model):
        assert not {"call", "train_step", "_jit_compiled_convolution_op"} & vars(layer).keys() - {
            "_jit_compiled_convolution_op" if getattr(layer, "groups", 1) > 1 else ""
        }, layer.name
    fresh = type(model)()
    fresh(IMAGES[:1])
    fresh.set_weights(model.get_weights())
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), fresh.predict(IMAGES, verbose=0), atol=1e-5)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), np.asarray(model(IMAGES, training=False)), atol=1e-5)


# --- what is computed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 4])
def test_evaluation_in_the_fit_is_that_of_the_rounded_model(bits):
    """NumPy computes the same, tensor by tensor."""
    model = dense()
    training = QuantizationAwareTrainingCallback(num_bits=bits)
    history = model.fit(X, Y, batch_size=8, epochs=1, validation_data=(X, Y), verbose=0, callbacks=[training])
    first, shift, last, offset = model.get_weights()

    def kernel(value):
        scale = np.abs(value).max(0) / (2 ** (bits - 1) - 1)
        return np.round(value / scale) * scale

    def tensor(value):
        return rounded(value, min(value.min(), 0), max(value.max(), 0))

    hidden = tensor(np.maximum(tensor(X) @ kernel(first) + shift, 0))
    expected = np.mean((tensor(hidden @ kernel(last) + offset) - Y) ** 2)
    plain = np.mean((np.maximum(X @ first + shift, 0) @ last + offset - Y) ** 2)
    assert history.history["val_loss"] == pytest.approx([expected], rel=1e-4)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(plain, rel=1e-5)
    assert abs(expected - plain) > 1e-4 * plain


def test_filters_choose_which_kernels_are_rounded():
    losses = []
    for filters in (None, "last", "last|dense"):
        training = QuantizationAwareTrainingCallback(filters, num_bits=4)
        losses += dense().fit(X, Y, verbose=0, callbacks=[training]).history["loss"]
    assert losses[0] == losses[2] != losses[1]


def normalized(is_added):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same")(inputs))
    if is_added:
        hidden = keras.layers.Add()([hidden, keras.layers.Conv2D(4, 1)(inputs)])
    return compiled(keras.Model(inputs, keras.layers.Conv2D(3, 1)(keras.layers.ReLU()(hidden))))


@pytest.mark.skipif(not compat.is_keras_2(keras.layers.ReLU()), reason="Keras 2 only")
def test_a_normalization_stays_one_operation_unless_the_file_rounds_what_it_gives(monkeypatch):
    def trained(is_added):
        model, training = normalized(is_added), QuantizationAwareTrainingCallback(freeze_at=1.0)
        watched = Watch(lambda model: next(layer.fused for layer in model.layers if hasattr(layer, "fused")))
        fit(model, training, watched)
        assert next(layer.fused for layer in model.layers if hasattr(layer, "fused"))  # as it was
        return watched.seen, [compat.read(weight) for weight in model.trainable_weights], training.ranges

    whole, weights, ranges = trained(is_added=False)
    assert all(whole)
    assert not any(trained(is_added=True)[0])
    monkeypatch.setattr(Sites, "split_normalizations", True)
    split, others, other_ranges = trained(is_added=False)
    assert not any(split)
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)  # three steps of Adam would be 3e-2
    for pair, other in zip(ranges.values(), other_ranges.values(), strict=True):
        np.testing.assert_allclose(pair, other, atol=0.02 * np.diff(pair)[0])


def test_rounding_begins_at_its_step():
    model = dense()
    plain = model.evaluate(X, Y, verbose=0)
    training = QuantizationAwareTrainingCallback(begin_step=2, num_bits=4)
    losses = model.fit(X, Y, epochs=4, verbose=0, callbacks=[training]).history["loss"]
    assert losses[:2] == pytest.approx([plain] * 2, rel=1e-5)
    assert abs(losses[2] - plain) > 1e-3 * plain


@pytest.mark.parametrize(("values", "highest"), [(FEW, (2 + 4) / 2), (6, 4)], ids=["averages", "few_values_whole"])
def test_ranges_are_those_of_the_steps_until_they_are_held(values, highest):
    images = (np.arange(1, 9, dtype="float32")[:, None] * np.ones((1, values))).astype("float32")
    model = keras.Sequential([keras.Input((values,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    training = QuantizationAwareTrainingCallback(freeze_at=0.5)
    model.fit(images, images[:, :1], batch_size=2, shuffle=False, epochs=1, verbose=0, callbacks=[training])
    assert training.ranges["input_0"] == (0.0, pytest.approx(highest))


def reached(steps, **options):
    """The highest value of a range that has seen one tensor a step."""
    seen = Range()
    for values in steps:
        seen.observe(tf.constant(values, tf.float32), **options)
    return seen.read()[1]


def test_answers_are_not_cut_off_however_many_values_a_step_has():
    random = np.random.default_rng(0)
    steps = random.normal(size=(150, FEW)) * random.uniform(0.5, 1.5, (150, 1))
    assert reached(steps, is_answer=True) > 0.85 * steps.max() > 0.8 * steps.max() > reached(steps)


def test_what_was_an_answer_once_fades():
    assert reached([[100.0], *[[1.0]] * 2000]) < 3


@pytest.mark.slow
def test_a_regression_answers_in_its_file_as_the_model_does(tmp_path):
    """Batches reach two thirds of what all data reach; with averages of them, the error grew by 0.3."""
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(2000, 20)).astype("float32")
    y = (x.sum(1) + 0.3 * x[:, 0] ** 3)[:, None, None]
    layers = [keras.layers.Dense(64, activation="relu"), keras.layers.Dense(64, activation="relu")]
    model = keras.Sequential([keras.Input((20,)), *layers, keras.layers.Dense(1), keras.layers.Reshape((1, 1))])
    model.compile("adam", "mse", metrics=["mae"])
    export = ExportQuantizedCallback(tmp_path, ("int8",), evaluation_data=(x, y), latency=False, verbose=0)
    callbacks = [QuantizationAwareTrainingCallback(), export]
    model.fit(x, y, batch_size=32, epochs=10, verbose=0, callbacks=callbacks)
    entry = export.report["formats"]["int8"]
    assert entry["relative_difference"] < 0.1
    assert entry["metrics"]["mae"] < 1.1 * export.report["model"]["metrics"]["mae"]


def test_ranges_follow_values_that_grow():
    """An average over all steps would end at half of the largest."""
    images = (np.arange(1, 65, dtype="float32")[:, None] * np.ones((1, 6))).astype("float32")
    training = QuantizationAwareTrainingCallback(freeze_at=1.0)
    dense().fit(
        images, np.zeros((64, *Y.shape[1:]), Y.dtype), batch_size=2, shuffle=False, verbose=0, callbacks=[training]
    )
    low, high = training.ranges["input_0"]
    assert low == 0
    assert 60 < high <= 64


def test_statistics_are_held_near_the_end():
    model = compiled(Segmenter())
    record = Watch(lambda model: compat.read(compat.batch_norms(model)[0].moving_mean).copy())
    fit(model, QuantizationAwareTrainingCallback(freeze_at=0.5), record)
    moved = [not np.array_equal(one, other) for one, other in zip(record.seen, record.seen[1:], strict=False)]
    assert moved == [True] * 3 + [False] * 4


def test_training_learns_through_the_rounding():
    model = compiled(Segmenter())
    history = fit(model, QuantizationAwareTrainingCallback(num_bits=4), epochs=6)
    assert history.history["loss"][-1] < history.history["loss"][0]


# --- how it is trained -----------------------------------------------------------------------------------------------

MODES = {
    "graph": {},
    "jit": {"jit_compile": True},
    "several_steps": {"steps_per_execution": 2},
    "mixed": {"dtype": "mixed_float16"},
}


@pytest.mark.parametrize("mode", MODES)
def test_every_way_to_train_learns_every_range_and_leaves_nothing_behind(mode):
    options = dict(MODES[mode])
    keras.mixed_precision.set_global_policy(options.pop("dtype", "float32"))
    try:
        model = compiled(Segmenter(), **options)
        training = QuantizationAwareTrainingCallback()
        fit(model, training, validation_data=(IMAGES, LABELS))
        assert len(training.ranges) == 7
        assert all(low <= 0 <= high and high > low for low, high in training.ranges.values())
        if mode != "mixed":
            is_the_users(model)
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_a_nested_model_in_two_fits(tmp_path):
    model = compiled(Outer())
    training = QuantizationAwareTrainingCallback()
    first = dict(fit(model, training).model.layers and training.ranges)
    fit(model, training)
    assert training.ranges.keys() == first.keys()
    assert training.ranges != first
    is_the_users(model)


def test_replicas_learn_one_range():
    (seen,) = results([start("quantization")])
    assert seen["equal"]
    assert seen["kernels_equal"]
    assert seen["ranges"] == seen["trained"] == 7
    assert seen["int8"] == "ok"


def test_a_resumed_fit_goes_on_with_its_ranges(tmp_path):
    def run(folder, *callbacks):
        keras.utils.set_random_seed(7)
        training = QuantizationAwareTrainingCallback(freeze_at=1.0)
        fit(compiled(built(Segmenter)()), keras.callbacks.BackupAndRestore(str(folder)), training, *callbacks, epochs=3)
        return training.ranges, training.simulation.ranges["input_0"].state[2]

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    whole, steps = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", Kill())
    assert (tmp_path / "killed" / "segopt_ranges.json").exists()
    resumed, resumed_steps = run(tmp_path / "killed")
    assert steps == resumed_steps == 12  # of which the last process has made 4
    assert len(resumed) == len(whole)
    assert resumed["input_0"] == pytest.approx(whole["input_0"], rel=1e-6)
    assert [pair[1] for pair in resumed.values()] == pytest.approx([pair[1] for pair in whole.values()], rel=0.2)
    assert not (tmp_path / "killed" / "segopt_ranges.json").exists()


@pytest.mark.parametrize("where", ["step", "callback", "validation"])
def test_an_error_leaves_the_model_as_it_was(where):
    model = compiled(Segmenter())

    def batches():
        for batch in range(2):
            yield IMAGES[8 * batch : 8 * batch + 8], LABELS[8 * batch : 8 * batch + 8]
        raise RuntimeError("the disk is gone")

    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if where == "callback":
                raise RuntimeError("the disk is gone")

    data = tf.data.Dataset.from_generator(
        batches, output_signature=(tf.TensorSpec((None, 8, 8, 3)), tf.TensorSpec((None, 8, 8), tf.int32))
    )
    given = {"validation_data": data} if where == "validation" else {}
    with pytest.raises(Exception, match="the disk is gone"):
        model.fit(
            *((data,) if where == "step" else (IMAGES, LABELS)),
            epochs=2,
            verbose=0,
            shuffle=False,
            callbacks=[Fail(), QuantizationAwareTrainingCallback()],
            **given,
        )
    is_the_users(model)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bits": 2}, "`num_bits` must be 8 or 4, .* Received: num_bits=2"),
        ({"begin_step": -1}, "`begin_step` must be .* Received: begin_step=-1"),
        ({"begin_step": True}, "Received: begin_step=True"),
        ({"freeze_at": 1.5}, r"`freeze_at` must be a fraction of the training, in \[0, 1\]. Received: freeze_at=1.5"),
        ({"filters": 3}, "`filters` must be"),
    ],
)
def test_wrong_arguments_are_told(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        QuantizationAwareTrainingCallback(**arguments)


def test_a_step_that_is_not_traced_is_refused():
    model = compiled(Segmenter(), run_eagerly=True)
    with pytest.raises(ValueError, match="compile without run_eagerly"):
        fit(model, QuantizationAwareTrainingCallback())


class Hurried(keras.Model):
    """Leaves out in training what it does for inference: before its kernel, and if asked behind it."""

    def __init__(self, *, behind):
        super().__init__()
        self.dense, self.behind = keras.layers.Dense(4), behind

    def call(self, inputs, training=False):
        hidden = self.dense(inputs if training else tf.abs(inputs))
        return tf.exp(tf.abs(hidden)) if self.behind and not training else hidden


@pytest.mark.either_keras
@pytest.mark.parametrize("behind", [False, True])
def test_what_training_never_computes_is_told_where_it_is_behind_a_kernel(behind):
    model, data = Hurried(behind=behind), (np.ones((8, 4), "float32"), np.ones((8, 4), "float32"))
    model.compile("sgd", "mse")
    told = pytest.warns(
        UserWarning, match=r"takes the same way with training=True.*Received: no step .* computed Abs_1"
    )
    with told if behind else contextlib.nullcontext():
        model.fit(*data, verbose=0, callbacks=[QuantizationAwareTrainingCallback()])
