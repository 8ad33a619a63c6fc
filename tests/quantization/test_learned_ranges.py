"""Ranges that are trained: their gradient against the papers' formulas in NumPy, and what a fit makes of them."""

import json

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks import ExportQuantizedCallback, QuantizationAwareTrainingCallback
from segopt_callbacks.compat import keras
from segopt_callbacks.quantization.calibration import rounded
from segopt_callbacks.quantization.fake_quant import quantized_activation
from segopt_callbacks.quantization.learned_ranges import RATE, WIDEST, end_gradients, learned_activation, moved, signals
from segopt_callbacks.quantization.ranges import Range
from tests.conformance import Watch, compiled, fit, functional

BELOW, ABOVE = 40, 215  # steps: Qn and Qp of the paper


def numpy_gradients(values, low, high, upstream):
    """With respect to the values, and to both ends: LSQ+ (Bhalgat et al. 2020), of a range whose zero is a step."""
    step = (high - low) / 255
    below, above = np.round(-low / step), 255 - np.round(-low / step)
    inside = (values >= -below * step) & (values <= above * step)
    residual = np.where(inside, np.round(values / step) - values / step, 0)
    of_low = np.where(values < -below * step, 1.0, -residual / 255)
    of_high = np.where(values > above * step, 1.0, residual / 255)
    return upstream * inside, np.array([(upstream * of_low).sum(), (upstream * of_high).sum()])


def numpy_moved(bounds, ends, upstream):
    """The paper's gradient scale, relative to the root of the mean square of the upstream gradient."""
    scale = 1 / np.sqrt(upstream.size * 255)
    pulls = np.clip(255 * ends * scale / np.sqrt(np.mean(upstream**2)), -1, 1)
    low, high = bounds - RATE * (bounds[1] - bounds[0]) * pulls
    return np.array([min(low, 0), max(high, 0)])


# --- formulas --------------------------------------------------------------------------------------------------------


@pytest.fixture
def gradients():
    random = np.random.default_rng(0)
    step = 0.01
    values = random.normal(0, 1.2, (7, 50)).astype("float32")
    upstream = random.normal(0.3, 1, values.shape).astype("float32")
    low, high = np.float32(-BELOW * step), np.float32(ABOVE * step)
    found = end_gradients(values, quantized_activation(tf.constant(values), low, high), low, high, upstream)
    return step, values, upstream, (low, high), *map(np.asarray, found)


@pytest.mark.either_keras
def test_gradients_are_those_of_the_paper(gradients):
    """Along the step size, where both ends move in proportion: equation 3 of Esser et al. 2020."""
    step, values, upstream, _, _, ends = gradients
    scaled = values / step
    equation = np.where(scaled <= -BELOW, -BELOW, np.where(scaled >= ABOVE, ABOVE, np.round(scaled) - scaled))
    assert ends @ [-BELOW, ABOVE] == pytest.approx((upstream * equation).sum(), rel=1e-4)


@pytest.mark.either_keras
def test_both_ends_have_gradients_of_their_own(gradients):
    _, values, upstream, bounds, passed, ends = gradients
    expected, expected_ends = numpy_gradients(values, *bounds, upstream)
    np.testing.assert_array_equal(passed, expected)
    np.testing.assert_allclose(ends, expected_ends, rtol=1e-4)
    assert (expected == 0).sum() > 20


@pytest.mark.either_keras
def test_of_values_that_are_never_negative_the_step_size_alone_is_learned(gradients):
    """The unsigned case of the paper: no step below zero, 255 above."""
    step, values, upstream, *_ = gradients
    values = np.maximum(values * 3, 0)
    high = np.float32(255 * step)
    _, ends = end_gradients(values, quantized_activation(tf.constant(values), 0.0, high), 0.0, high, upstream)
    scaled = values / step
    equation = np.where(scaled >= 255, 255, np.round(scaled) - scaled)
    assert float(ends[1]) * 255 == pytest.approx((upstream * equation).sum(), rel=1e-4)
    assert float(ends[0]) == 0
    assert (scaled > 255).sum() > 5


@pytest.mark.either_keras
def test_a_step_has_the_papers_scale_whatever_the_scale_of_the_loss(gradients):
    _, _, upstream, bounds, _, ends = gradients
    ends = np.float32(ends / 50)  # none is clipped
    expected = numpy_moved(np.array(bounds), ends, upstream)
    for scale in (1.0, 2.0**15, 2.0**-15):
        pulls = signals(tf.constant(ends * scale), tf.constant(upstream * scale))
        assert (np.abs(pulls) < 1).all()
        there = moved(tf.constant(bounds), pulls, bounds[1] - bounds[0])
        np.testing.assert_allclose(there, expected, rtol=1e-5)
    assert np.abs(expected - bounds).min() > 1e-4


@pytest.mark.either_keras
@pytest.mark.parametrize("spoiled", [np.inf, -np.inf, np.nan])
def test_a_gradient_that_is_not_finite_moves_nothing(spoiled):
    one = Range([-1.0, 2.0, 5.0], is_learned=True)
    for gradient, has_moved in ((spoiled, False), (0.0, False), (1.0, True)):
        weight = tf.Variable(gradient)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(one.learned(tf.constant([-3.0, 0.3, 4.0])) * weight)
        tape.gradient(loss, weight)
        assert np.isfinite(one.state).all()
        assert one.was_learned == has_moved


@pytest.mark.either_keras
@pytest.mark.parametrize("pulls", [[-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
def test_a_range_neither_collapses_nor_explodes(pulls):
    bounds = tf.constant([-1.0, 2.0])
    for _ in range(500):
        bounds = moved(bounds, tf.constant(pulls), 3.0)
        low, high = bounds.numpy()
        assert low <= 0 <= high
        assert 3 / WIDEST <= high - low <= 3 * WIDEST
    assert abs(high - low - 3) > 0.5


@pytest.mark.either_keras
@pytest.mark.parametrize("dtype", [tf.float16, tf.float32])
def test_values_and_their_gradient_are_those_of_a_held_range(dtype):
    values = tf.Variable(np.linspace(-4, 4, 33), dtype=dtype)
    with tf.GradientTape(persistent=True) as tape:
        learned = learned_activation(values, tf.constant([-1.0, 2.0]), lambda ends, upstream: None)
        held = quantized_activation(values, -1.0, 2.0)
    assert learned.dtype == dtype
    np.testing.assert_array_equal(learned, held)
    np.testing.assert_array_equal(tape.gradient(learned, values), tape.gradient(held, values))


# --- one step of a fit -----------------------------------------------------------------------------------------------


def test_a_step_of_fit_moves_each_range_as_numpy_does():
    """The input's too, before which there is no weight."""
    random = np.random.default_rng(0)
    inputs, labels = random.normal(size=(8, 6)).astype("float32"), random.normal(size=(8, 3)).astype("float32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    seen = QuantizationAwareTrainingCallback()
    model.fit(inputs, labels, verbose=0, callbacks=[seen])
    start = {name: np.float32(pair) * 0.7 for name, pair in seen.ranges.items()}
    learned = QuantizationAwareTrainingCallback(learn_ranges=True, ranges={n: tuple(p) for n, p in start.items()})
    model.fit(inputs, labels, batch_size=8, verbose=0, callbacks=[learned])

    kernel, shift = model.get_weights()
    scale = np.abs(kernel).max(0) / 127
    kernel = np.round(kernel / scale) * scale
    (first, of_inputs), (second, of_outputs) = start.items()
    outputs = rounded(inputs, *of_inputs) @ kernel + shift
    upstream = 2 * (rounded(outputs, *of_outputs) - labels) / labels.size
    passed, ends = numpy_gradients(outputs, *of_outputs, upstream)
    np.testing.assert_allclose(learned.ranges[second], numpy_moved(of_outputs, ends, upstream), rtol=1e-4)
    upstream = passed @ kernel.T
    _, ends = numpy_gradients(inputs, *of_inputs, upstream)
    np.testing.assert_allclose(learned.ranges[first], numpy_moved(of_inputs, ends, upstream), rtol=1e-4)
    assert all(np.abs(learned.ranges[name] - pair).max() > 1e-3 for name, pair in start.items())


# --- fits ------------------------------------------------------------------------------------------------------------


def with_outliers():
    """One pixel in 256 is a hundred times as bright as the others, and says nothing."""
    images = np.random.default_rng(0).uniform(size=(16, 16, 16, 3)).astype("float32")
    labels = (images[..., :1] > images[..., 1:2]).astype("float32")
    images[:, 0, 0] = 100.0
    return images, labels


def of_outliers(*callbacks, activation=None, **options):
    """Losses of a small model."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Conv2D(8, 1, activation="relu"), keras.layers.Conv2D(1, 1, activation=activation)]
    model = keras.Sequential([keras.Input((16, 16, 3)), *layers])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model.fit(*with_outliers(), verbose=0, callbacks=[*callbacks], **options).history["loss"]


@pytest.mark.slow
def test_less_is_lost_where_outliers_stretch_averages():
    averaged, learned = QuantizationAwareTrainingCallback(), QuantizationAwareTrainingCallback(learn_ranges=True)
    losses, better = (of_outliers(one, activation="sigmoid", batch_size=1, epochs=200) for one in (averaged, learned))
    assert averaged.ranges["input_0"] == (0, 100)
    assert learned.ranges["input_0"][1] < 30
    assert np.mean(better[-10:]) < 0.3 * np.mean(losses[-10:])


def test_ranges_are_observed_then_learned_then_held_and_the_file_has_them(tmp_path):
    export = ExportQuantizedCallback(tmp_path, ("int8",), evaluation_data=with_outliers(), verbose=0)
    learned = QuantizationAwareTrainingCallback(learn_ranges=True)
    states = []
    watch = Watch(lambda model: states.append([one.state for one in learned.simulation.ranges.values()]))
    of_outliers(learned, watch, export, batch_size=16, epochs=60)

    states = np.array(states)
    moves = (np.diff(states[:, :, :2], axis=0) != 0).any((1, 2))
    assert (states[:, :, 2].max(1) == np.minimum(np.arange(1, 61), 10)).all()  # observed ten times
    assert moves[10:47].all()  # learned until 0.8 of the training
    assert not moves[47:].any()
    assert (states[:, :, 0] <= 0).all()
    assert (states[:, :, 1] >= 0).all()

    assert export.report["formats"]["int8"]["ranges"] == {"learned": 3, "calibrated": []}
    (path,) = tmp_path.rglob("*int8*.tflite")
    interpreter = Interpreter(str(path))
    scale, _ = interpreter.get_input_details()[0]["quantization"]
    low, high = learned.ranges["input_0"]
    assert scale * 255 == pytest.approx(high - low, rel=1e-4)
    assert abs(high - low - 100) > 0.1


def test_ranges_are_learned_by_xla_in_mixed_precision_several_steps_at_a_time():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        training = QuantizationAwareTrainingCallback(learn_ranges=True, freeze_at=1.0)
        model = compiled(functional(), jit_compile=True, steps_per_execution=2)
        weights = fit(model, training, epochs=4).model.trainable_weights
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert len(weights) == 4
    assert [one.was_learned for one in training.simulation.ranges.values()] == [True] * 3
    assert all(low <= 0 <= high and high > low for low, high in training.ranges.values())


class Net(keras.Model):
    """Computes each tensor twice in a step, once in a function of its own; its train_step is the user's."""

    def __init__(self):
        super().__init__()
        self.first, self.second = keras.layers.Dense(5, activation="relu"), keras.layers.Dense(3)

    def call(self, inputs):
        return self.second(self.first(inputs))

    def train_step(self, data):
        inputs, labels = data
        call = tf.function(self)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(inputs) + call(-inputs) - labels) ** 2)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


INPUTS = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
OUTPUTS = np.random.default_rng(1).normal(size=(32, 3)).astype("float32")


def fit_net(training, *callbacks, epochs=4):
    keras.utils.set_random_seed(3)
    net = Net()
    net(INPUTS)
    net.compile("sgd")
    net.fit(INPUTS, OUTPUTS, batch_size=8, epochs=epochs, verbose=0, callbacks=[training, *callbacks])


def test_a_resumed_fit_goes_on_with_learned_ranges(tmp_path):
    def run(*callbacks):
        training = QuantizationAwareTrainingCallback(learn_ranges=True, freeze_at=1.0)
        states = Watch(lambda model: {name: one.state for name, one in training.simulation.ranges.items()})
        fit_net(training, keras.callbacks.BackupAndRestore(str(tmp_path)), states, *callbacks)
        return states.seen

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Kill())
    saved = list(json.loads((tmp_path / "segopt_ranges.json").read_text()).values())
    assert len(saved) == 3
    assert all(state[:2] != state[3:5] for state in saved)
    (first, *others) = run()
    assert len(others) == 3  # of the last epoch
    for state, before in zip(first.values(), saved, strict=True):
        np.testing.assert_array_equal(state[2:], before[2:])
        assert 0 < np.abs(state[:2] - before[:2]).sum() <= 4.1 * RATE * (before[1] - before[0])


@pytest.mark.either_keras
def test_a_fit_goes_on_with_ranges_that_somebody_else_has_kept():
    first, second = (QuantizationAwareTrainingCallback(freeze_at=1.0) for _ in range(2))
    kept = Watch(lambda model: json.dumps(first.kept()))
    fit_net(first, kept, epochs=1)
    taking_up = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: second.take_up(json.loads(kept.seen[-1])))
    fit_net(second, taking_up, epochs=1)
    seen, seen_on = ([state[2] for state in states.values()] for states in (json.loads(kept.seen[-1]), second.kept()))
    assert len(seen) == 3
    assert seen_on == [2 * count for count in seen]  # two fits, as one


@pytest.mark.either_keras
def test_a_state_of_three_numbers_as_older_files_have_it_still_loads():
    one = Range()
    one.state = [-1.0, 2.0, 7.0]
    np.testing.assert_array_equal(one.state, [-1, 2, 7, -1, 2, 0])
    assert one.read() == (-1, 2)
    assert not one.was_learned
    one.state = [-1.0, 2.0, 7.0, -2.0, 2.0]
    assert one.was_learned


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_fit_that_learned_nothing_says_so():
    with pytest.warns(UserWarning, match=r"No range was learned.* from step 10 on, in a fit of 8, freeze_at=0.8"):
        fit_net(QuantizationAwareTrainingCallback(learn_ranges=True), epochs=2)


@pytest.mark.either_keras
def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match=r"`learn_ranges` must be True, or False .* Received: learn_ranges=3"):
        QuantizationAwareTrainingCallback(learn_ranges=3)
