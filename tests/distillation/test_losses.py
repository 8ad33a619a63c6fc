"""The distillation loss: against SciPy, Keras' own divergence, and Keras' own distillation."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, rel_entr, softmax

from segopt_callbacks.compat import keras
from segopt_callbacks.distillation.answers import figures, require_alike, require_classes, require_kind
from segopt_callbacks.distillation.losses import distillation_loss
from segopt_callbacks.distillation.settings import Settings

RANDOM = np.random.default_rng(0)
TEACHER, STUDENT = (RANDOM.normal(0, 3, (4, 5, 6, 3)).astype("float32") for _ in range(2))
OF_PIXELS = RANDOM.uniform(size=(4, 5, 6)).astype("float32")


def oracle(teacher, student, temperature):
    """SciPy's relative entropy of each position."""
    soft = (softmax(one.astype("float64") / temperature, axis=-1) for one in (teacher, student))
    return temperature**2 * rel_entr(*soft).sum(-1)


def loss(*arguments):
    return float(distillation_loss(*map(tf.constant, arguments[:2]), *arguments[2:]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_logits_and_what_a_softmax_makes_of_them(temperature):
    expected = oracle(TEACHER, STUDENT, temperature).mean()
    assert loss(TEACHER, STUDENT, "logits", temperature) == pytest.approx(expected, rel=1e-5)
    shares = [softmax(one, axis=-1) for one in (TEACHER, STUDENT)]
    assert loss(*shares, "probabilities", temperature) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_yes_or_no_is_a_choice_between_two(temperature):
    chances = [expit(one.astype("float64") / temperature) for one in (TEACHER, STUDENT)]
    expected = temperature**2 * (rel_entr(*chances) + rel_entr(*(1 - one for one in chances))).mean()
    assert loss(TEACHER, STUDENT, "binary_logits", temperature) == pytest.approx(expected, rel=1e-5)
    assert loss(expit(TEACHER), expit(STUDENT), "binary_probabilities", temperature) == pytest.approx(
        expected, rel=1e-3
    )


def test_values_have_the_mean_squared_error_of_keras():
    expected = float(keras.losses.MeanSquaredError()(TEACHER, STUDENT))
    assert loss(TEACHER, STUDENT, "values", 3.0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "weights",
    [RANDOM.uniform(size=4).astype("float32"), OF_PIXELS, OF_PIXELS[..., None]],
    ids=["batch", "pixel", "one"],
)
def test_weights_count_as_in_the_losses_of_keras(weights):
    shares = [softmax(one, axis=-1) for one in (TEACHER, STUDENT)]
    own = weights[..., 0] if weights.ndim == 4 else weights
    expected = float(keras.losses.KLDivergence()(*shares, sample_weight=own.reshape(own.shape + (1,) * (3 - own.ndim))))
    assert loss(TEACHER, STUDENT, "logits", 1.0, weights) == pytest.approx(expected, rel=1e-4)


def test_masked_positions_do_not_count():
    mask = OF_PIXELS > 0.5
    expected = oracle(TEACHER, STUDENT, 2.0)[mask].mean()
    assert loss(TEACHER, STUDENT, "logits", 2.0, None, tf.constant(mask)) == pytest.approx(expected, rel=1e-5)


def test_keras_distills_alike():
    keras_3 = pytest.importorskip("keras", minversion="3.12")
    for temperature in (1.0, 3.0):
        # Its default, the string "kl_divergence", takes the divergence of the logits themselves.
        distillation = keras_3.distillation.LogitsDistillation(temperature, loss=keras_3.losses.KLDivergence())
        expected = float(distillation.compute_loss(TEACHER, STUDENT))
        assert loss(TEACHER, STUDENT, "logits", temperature) == pytest.approx(expected, rel=1e-4)


def test_large_logits_have_finite_gradients():
    student = tf.Variable([[0.0, 200.0, -200.0]])
    with tf.GradientTape() as tape:
        far = distillation_loss(tf.constant([[300.0, 0.0, -300.0]]), student, "logits", 1.0)
    assert float(far) == pytest.approx(200.0)
    np.testing.assert_allclose(tape.gradient(far, student), [[-1.0, 1.0, 0.0]], atol=1e-6)


KINDS = {
    "logits": TEACHER,
    "probabilities": softmax(TEACHER, axis=-1),
    "binary_logits": TEACHER,
    "binary_probabilities": expit(TEACHER),
    "values": TEACHER,
}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_each_kind_are_known_from_their_opposite(kind):
    require_kind(figures(tf.constant(KINDS[kind])).numpy(), kind)
    other = kind.replace("logits", "?").replace("probabilities", "logits").replace("?", "probabilities")
    if other != kind:
        with pytest.raises(ValueError, match=f"say outputs='{other}'. Received"):
            require_kind(figures(tf.constant(KINDS[other])).numpy(), kind)
    broken = KINDS[kind].copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        require_kind(figures(tf.constant(broken)).numpy(), kind)


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ((2, 3), (2, 4)),
        ((2, 3), (2, 5, 3)),
        ([(2, 3)], [(2, 3), (2, 3)]),
        ({"a": (2, 3), "b": (2, 3)}, [(2, 3), (2, 3)]),
    ],
)
def test_answers_of_another_shape_are_refused(teacher, student):
    def filled(shapes):
        if isinstance(shapes, dict):
            return {name: tf.zeros(one) for name, one in shapes.items()}
        return [tf.zeros(one) for one in shapes] if isinstance(shapes, list) else tf.zeros(shapes)

    with pytest.raises(ValueError, match="must answer as its student does"):
        require_alike(filled(teacher), filled(student))


@pytest.mark.parametrize(("shape", "kind"), [((4, 8, 8, 1), "logits"), ((4, 1), "probabilities"), ((4,), "values")])
def test_an_axis_without_classes_is_refused(shape, kind):
    with pytest.raises(ValueError, match=r"last axis of \w+ must be one of channels"):
        require_classes(tf.zeros(shape), kind)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((0.0, 0.5, "logits"), "`temperature` must be a number above 0"),
        ((float("inf"), 0.5, "logits"), "`temperature` must be"),
        ((True, 0.5, "logits"), "`temperature` must be"),
        ((2.0, 0.0, "logits"), "leave the callback out for 0"),
        ((2.0, 1.5, "logits"), r"in \(0, 1\]"),
        ((2.0, 0.5, "softmax"), "`outputs` must be one of logits"),
        ((2.0, 0.5, [None, None]), "one at least"),
        ((2.0, 0.5, {"mask": "logits", "depth": "metres"}), "`outputs` must be one of"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Settings(*settings)


def test_each_output_has_its_kind():
    answers = {"mask": STUDENT, "depth": STUDENT}
    assert Settings(2.0, 0.5, "values").of_each(answers) == ["values", "values"]
    assert Settings(2.0, 0.5, {"mask": "logits", "depth": None}).of_each(answers) == [None, "logits"]  # by name
    assert Settings(2.0, 0.5, ["logits", None]).of_each([STUDENT, STUDENT]) == ["logits", None]
    for outputs, given in (({"mask": "logits"}, answers), (["logits"], [STUDENT] * 2), ({"a": "logits"}, [STUDENT])):
        with pytest.raises(ValueError, match="must have an entry for each of the model's outputs"):
            Settings(2.0, 0.5, outputs).of_each(given)
