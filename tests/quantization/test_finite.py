"""A fit that trains against 8 bits is finite wherever the plain fit is; where it cannot be, it stops by name."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import QuantizationAwareTrainingCallback, compat
from segopt_callbacks.compat import keras
from segopt_callbacks.quantization.finite import is_due
from segopt_callbacks.quantization.ranges import Range

L = keras.layers
IMAGES = (np.random.default_rng(7).uniform(size=(32, 8, 8, 3)) ** 6).astype("float32")
IMAGES[:, :2] = 0  # padded rows
LABELS = (IMAGES.mean((1, 2, 3)) > np.median(IMAGES.mean((1, 2, 3)))).astype("int32")


class Operation(L.Layer):
    """A raw operation on positive tensors with many zeros, in a layer."""

    def __init__(self, operation, **kwargs):
        super().__init__(**kwargs)
        self.operation = operation

    def call(self, inputs):
        return self.operation(inputs)

    def compute_output_shape(self, shape):
        return shape


def standardized(t):
    mean, variance = tf.nn.moments(t, [1, 2], keepdims=True)
    return (t - mean) / tf.sqrt(variance + 1e-5)


def standardized_by_difference(t):
    """Rounded, E[t^2] - E[t]^2 can be negative."""
    mean = tf.reduce_mean(t, [1, 2], keepdims=True)
    variance = tf.reduce_mean(t * t, [1, 2], keepdims=True) - mean * mean
    return (t - mean) * tf.math.rsqrt(variance + 1e-3)


def masked(mask):
    def attention(t):
        scores = tf.matmul(t, t, transpose_b=True)  # (batch, 6, 6, 6)
        return tf.matmul(tf.nn.softmax(mask(scores, tf.constant([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]))), t)

    return attention


SINGULAR = {
    "log": lambda t: tf.math.log(t + 1e-3),
    "log1p": lambda t: tf.math.log1p(tf.minimum(t, 1.0) * -0.999),
    "divide": lambda t: t / (tf.reduce_sum(t, -1, keepdims=True) + 1e-3),
    "divide_by_negative": lambda t: t / (-t - 1e-3),
    "divide_by_both_signs": lambda t: t / tf.where(t > 0.01, t, -1e-3),
    "reciprocal": lambda t: t * tf.math.reciprocal(t + 1e-2),
    "one_over": lambda t: 1e-2 / (t + 1e-3),
    "reshaped": lambda t: tf.math.log(tf.reshape(t + 1e-3, tf.shape(t))),
    "rsqrt": lambda t: t * tf.math.rsqrt(t + 1e-4),
    "sqrt": lambda t: tf.sqrt(t + 1e-4),
    "power": lambda t: tf.pow(t + 1e-4, 0.3),
    "negative_power": lambda t: t * tf.pow(t + 1e-3, -0.5),
    "generalized_mean": lambda t: tf.pow(tf.reduce_mean(tf.pow(t + 1e-4, 3.0), [1, 2], keepdims=True), 1 / 3) + t,
    "norm": lambda t: t / tf.norm(t + 1e-4, axis=-1, keepdims=True),
    "euclidean_norm": lambda t: tf.math.reduce_euclidean_norm(t + 1e-4, -1, keepdims=True) + t,
    "deviation": lambda t: t + tf.math.reduce_std(t + tf.constant([0, 1e-3, 0, 0, 0, 0, 0, 0]), -1, keepdims=True),
    "arctangent": lambda t: tf.atan2(t + 1e-4, t + 1e-4),
    "arcsine": lambda t: tf.asin(tf.minimum(t, 1.0) * 0.999),
    "entropy": lambda t: tf.math.xlogy(t, t + 1e-4),
    "l2_normalize": lambda t: tf.nn.l2_normalize(t, -1),
    "standardized": standardized,
    "standardized_by_difference": standardized_by_difference,
    "mask_added": masked(lambda scores, mask: scores + mask * -1e9),
    "mask_subtracted": masked(lambda scores, mask: scores - mask * 1e9),
    "mask_selected": masked(lambda scores, mask: tf.where(mask > 0, scores.dtype.min, scores)),
    "mask_infinite": masked(lambda scores, mask: tf.where(mask > 0, -np.inf, scores)),
}
LAYERS = {
    "layer_normalization": lambda: L.LayerNormalization(epsilon=1e-6),
    "unit_normalization": L.UnitNormalization,
    "group_normalization": lambda: L.GroupNormalization(2),
    "spectral_power": lambda: L.Activation("swish"),
} | {name: (lambda operation=operation: Operation(operation)) for name, operation in SINGULAR.items()}


# Several to a model, as a fit is mostly tracing: each has weights and a loss of its own, and trains as if alone.
# Operations of TensorFlow's are the same under both Kerases.
TOGETHER = [pytest.param(tuple(name for name in LAYERS if name not in SINGULAR), id="layers")] + [
    pytest.param(names, id=names[0], marks=pytest.mark.either_keras)
    for names in (tuple(SINGULAR)[at : at + 6] for at in range(0, len(SINGULAR), 6))
]


def branch(inputs, layer, ending):
    """`ending` keeps the names of weights apart."""
    first, second, third = (keras.initializers.GlorotUniform(seed) for seed in (10, 11, 12))
    hidden = L.Conv2D(8, 3, activation="relu", kernel_initializer=first, name=f"first{ending}")(inputs)
    hidden = L.Conv2D(4, 3, activation="relu", kernel_initializer=second, name=f"second{ending}")(layer(hidden))
    return L.Dense(2, kernel_initializer=third, name=f"third{ending}")(L.GlobalAveragePooling2D()(hidden))


def trained(layer, *callbacks, epochs=4, **options):
    return trained_together([layer], *callbacks, epochs=epochs, **options)


def trained_together(layers, *callbacks, epochs=4, **options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, [branch(inputs, layer, place or "") for place, layer in enumerate(layers)])
    losses = [keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in layers]
    model.compile("adam", losses, **{"jit_compile": False} | options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "These operations have no 8-bit form")
        labels = [LABELS for _ in layers]
        model.fit(IMAGES, labels, epochs=epochs, batch_size=16, verbose=0, callbacks=list(callbacks))
    return model


def is_finite(model):
    return all(np.isfinite(compat.read(weight)).all() for weight in model.weights)


@pytest.mark.parametrize("names", TOGETHER)
def test_training_is_finite_where_plain_training_is(names):
    assert is_finite(trained_together([LAYERS[name]() for name in names]))  # the oracle
    training = QuantizationAwareTrainingCallback(begin_step=2)
    assert is_finite(trained_together([LAYERS[name]() for name in names], training))
    assert np.isfinite(list(training.ranges.values())).all()
    assert len(training.ranges) >= 4 * len(names)


@pytest.mark.either_keras
def test_learned_ranges_and_compiled_steps_are_finite_too():
    training = QuantizationAwareTrainingCallback(begin_step=2, learn_ranges=True, freeze_at=1.0)
    layers = [LAYERS[name]() for name in ("layer_normalization", "divide", "sqrt")]
    assert is_finite(trained_together(layers, training, epochs=8, jit_compile=True))  # learned from step 10 on


@pytest.mark.either_keras
@pytest.mark.parametrize("name", ["mask_added", "mask_subtracted", "mask_selected"])
def test_a_mask_takes_no_steps_from_what_it_masks(name):
    training = QuantizationAwareTrainingCallback(begin_step=2)
    trained(LAYERS[name](), training)
    assert max(high - low for low, high in training.ranges.values()) < 60


@pytest.mark.filterwarnings("ignore:Nothing was trained against rounding")
@pytest.mark.either_keras
@pytest.mark.parametrize("begin_step", [0, 100])
def test_one_over_an_epsilon_takes_no_steps_from_others(begin_step):
    """1 / sqrt(1e-6) is 1000, of rows that are padded; also while nothing is rounded yet."""
    training = QuantizationAwareTrainingCallback(begin_step=begin_step)
    trained(LAYERS["layer_normalization"](), training)
    (widest,) = [high for name, (_, high) in training.ranges.items() if name.endswith("Rsqrt")]
    assert 0 < widest < 400


# --- what stops ------------------------------------------------------------------------------------------------------


class Spoil(keras.callbacks.Callback):
    """Writes NaN into a weight after the sixth step."""

    def on_train_batch_end(self, batch, logs=None):
        if compat.iterations(self.model) == 6:
            kernel = self.model.get_layer("second").kernel
            compat.assign(kernel, np.full(kernel.shape, np.nan, "float32"))


def test_a_weight_that_is_not_finite_stops_training_by_name():
    with pytest.raises(FloatingPointError, match="stay finite.*second/kernel.*not finite at step"):
        trained(L.ReLU(), Spoil(), QuantizationAwareTrainingCallback(begin_step=2))


def test_a_tensor_that_is_not_finite_stops_training_by_name():
    layer = Operation(lambda t: tf.where(tf.random.uniform(tf.shape(t)) < 2, t / 0.0, t), name="spoiled")
    with pytest.raises(FloatingPointError, match=r"tensors spoiled\w*/"):
        trained(layer, QuantizationAwareTrainingCallback())


def test_a_step_that_is_not_finite_does_not_enter_a_range():
    seen = Range()
    for values in ([1.0, 2.0], [np.nan, 1.0], [-np.inf, 3.0], [0.0, 4.0]):
        seen.observe(tf.constant(values))
    assert seen.read() == (0.0, 4.0)
    assert seen.spoiled == 2


def test_weights_are_looked_at_soon_and_then_rarely():
    due = [step for step in range(1000) if is_due(step, 0)]
    assert due[0] == 1
    assert max(np.diff(due)) == 64
    assert len(due) < 1000 / 40
