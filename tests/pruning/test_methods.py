"""Patterns, scopes, criteria and regrowth in a fit; both Kerases."""

import itertools

import numpy as np
import pytest

from segopt_callbacks import (
    ConstantSparsity,
    PolynomialDecay,
    PruningScheduleCallback,
    block,
    channel,
    compat,
    n_of_m,
    ramp_by_epoch,
    ramp_by_fraction,
)
from segopt_callbacks.compat import keras
from tests import conformance
from tests.conformance import IMAGES, Segmenter, Watch, compiled, fit, kernels, zeros

RISING = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=6, frequency=1)


class Transposing(keras.Model):
    """Down and up again: (transposed) convolutions with normalisation, and a head."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.down = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="down")
        self.normalize = keras.layers.BatchNormalization(name="normalize")
        self.up = keras.layers.Conv2DTranspose(12, 2, strides=2, name="up")
        self.depthwise = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")
        self.normalize_again = keras.layers.BatchNormalization(name="normalize_again")
        self.head = keras.layers.Conv2D(3, 1, name="head")

    def hidden(self, inputs, training=None):
        down = keras.activations.relu(self.normalize(self.down(inputs), training=training))
        up = self.up(down)
        return down, up, self.normalize_again(self.depthwise(keras.activations.relu(up)), training=training)

    def call(self, inputs, training=None):
        return self.head(self.hidden(inputs, training=training)[-1])


def kernel(model, name):
    """Output channels last."""
    value = compat.read(next(one for one in model.trainable_weights if f"{name}/" in compat.variable_path(one)))
    value = value.swapaxes(-1, -2) if name == "up" else value
    return value.reshape(9, -1) if name == "depthwise" else value.reshape(-1, value.shape[-1])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_pruned_channel_is_dead_after_every_step(jit_compile):
    model = compiled(Transposing(), jit_compile=jit_compile)

    def dead(fitted):
        hidden = [np.asarray(one) for one in fitted.hidden(IMAGES[:4])]
        return [
            (
                int((~kernel(fitted, name).any(0)).sum()),
                int((~one.any((0, 1, 2))).sum()),
            )
            for name, one in zip(("down", "up", "depthwise"), hidden, strict=True)
        ]

    watch = Watch(dead)
    fit(model, PruningScheduleCallback(0.5, pattern=channel()), watch)
    for seen in watch.seen:
        (down, down_dead), (up, up_dead), (depthwise, depthwise_dead) = seen
        assert (down, up, depthwise) == (4, 6, 6)
        assert down_dead >= 4  # relu may kill more
        assert (up_dead, depthwise_dead) == (6, 6)
    assert not np.any(kernel(model, "head") == 0)
    assert all(compat.get_constraint(weight) is None for weight in model.trainable_weights)


@pytest.mark.parametrize("pattern", [block(1, 4), n_of_m(2, 4)], ids=str)
def test_a_pattern_holds_after_every_step(pattern):
    def incomplete(fitted):
        return sum(broken(kernel(fitted, name)) for name in ("down", "up", "head"))

    def broken(matrix):
        rows, columns = matrix.shape
        if pattern == block(1, 4):
            whole = (matrix[:, : columns // 4 * 4] == 0).reshape(rows, -1, 4).sum(-1)
            return np.count_nonzero(~np.isin(whole, (0, 4)))
        whole = (matrix[: rows // 4 * 4] != 0).reshape(-1, 4, columns).sum(1)
        return np.count_nonzero(whole > 2) if rows % 4 == 0 else 0

    watch = Watch(incomplete)
    model = compiled(Transposing())
    fit(model, PruningScheduleCallback(0.6, pattern=pattern), watch)
    assert watch.seen == [0] * 8
    if pattern == n_of_m(2, 4):
        assert zeros(model) == {path: round(0.6 * value.size) for path, value in kernels(model).items()}


@pytest.mark.parametrize(
    "schedule", [lambda step: (True, 0.3), ramp_by_epoch(0.6, 1, 9)], ids=["callable", "cut short"]
)
@pytest.mark.filterwarnings("ignore:The schedule does not reach:UserWarning")
def test_a_pattern_that_stays_incomplete_is_told(schedule):
    model = compiled(conformance.functional())
    with pytest.warns(UserWarning, match=r"needs 0\.5000; raise it.*kernel"):
        fit(model, PruningScheduleCallback(schedule, pattern=n_of_m(2, 4)))


def test_two_of_four_under_one_threshold_is_complete():
    """The first kernel has three input channels: complete with a third of them zero, and no warning."""
    model = compiled(Transposing())
    fit(model, PruningScheduleCallback(0.5, pattern=n_of_m(2, 4), scope="global"))
    groups = kernel(model, "head")  # 12 input channels
    assert ((groups.reshape(-1, 4, groups.shape[1]) != 0).sum(1) <= 2).all()
    total = sum(value.size for value in kernels(model).values())
    assert sum(zeros(model).values()) == round(0.5 * total)


def test_global_scope_is_exact_over_all_weights_after_every_step():
    model = compiled(Segmenter())
    watch = Watch()
    fit(model, PruningScheduleCallback(0.8, scope="global"), watch)
    sizes = {path: value.size for path, value in kernels(model).items()}
    assert all(sum(seen.values()) == round(0.8 * sum(sizes.values())) for seen in watch.seen)
    assert all(watch.seen[-1][path] < size for path, size in sizes.items())
    assert len({round(watch.seen[-1][path] / size, 2) for path, size in sizes.items()}) > 2


def test_a_mapping_gives_each_weight_the_first_schedule_that_matches():
    model = compiled(functional := conformance.functional())
    second = functional.layers[2].name
    schedule = {f"{second}/": 0.25, "kernel": RISING}
    fit(model, PruningScheduleCallback(schedule))
    assert list(zeros(model).values()) == [round(0.8 * 216), 6]
    fit(compiled(model := conformance.functional()), PruningScheduleCallback({model.layers[1].name: 0.5}))
    assert list(zeros(model).values()) == [108, 0]


def test_each_schedule_of_a_mapping_has_its_own_record_of_gradients():
    model = compiled(functional := conformance.functional())
    second = functional.layers[2].name
    often = ConstantSparsity(0.5, begin_step=2, end_step=6, frequency=1)
    schedule = {f"{second}/": often, "kernel": ConstantSparsity(0.8, begin_step=6, end_step=6, frequency=1)}
    fit(model, PruningScheduleCallback(schedule, criterion="saliency"))
    assert list(zeros(model).values()) == [round(0.8 * 216), 12]


def test_a_mapping_with_a_regex_that_matches_nothing():
    with pytest.raises(ValueError, match="Each regex of a mapping must match.*'nowhere'.*Left for it: none"):
        fit(compiled(conformance.functional()), PruningScheduleCallback({"kernel": 0.5, "nowhere": 0.6}))


class Leaning(keras.Model):
    """Two inputs, of which the answer depends on the one with the smaller weights."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1, use_bias=False)

    def call(self, inputs):
        return self.dense(inputs)


def leaning_data():
    inputs = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    inputs[:, 4:] *= 0.001  # large weights, no effect
    return inputs, inputs[:, :4].sum(1, keepdims=True)


def leaning_model():
    model = Leaning()
    model(np.zeros((1, 8), "float32"))
    compat.assign(model.trainable_weights[0], np.array([0.5] * 4 + [2.0] * 4, "float32")[:, None])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_saliency_spares_what_the_loss_depends_on(steps_per_execution):
    schedule = ConstantSparsity(0.5, begin_step=4, end_step=4, frequency=1)
    kept = {}
    for criterion in ("magnitude", "saliency"):
        model = leaning_model()
        model.compile(keras.optimizers.SGD(0.05), "mse", steps_per_execution=steps_per_execution)
        callback = PruningScheduleCallback(schedule, criterion=criterion)
        model.fit(*leaning_data(), batch_size=8, verbose=0, callbacks=[callback])
        kept[criterion] = np.flatnonzero(compat.read(model.trainable_weights[0])[:, 0]).tolist()
        assert compat.iterations(model) == 8
    assert kept == {"magnitude": [4, 5, 6, 7], "saliency": [0, 1, 2, 3]}
    assert "apply" not in vars(model.optimizer)
    assert "apply_gradients" not in vars(model.optimizer)


def test_saliency_is_the_sum_of_weight_times_gradient():
    """SGD without momentum tells the gradient: g = (before - after) / rate."""
    model, seen, records = leaning_model(), [], []

    class Read(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(compat.read(self.model.trainable_weights[0]).copy())

        def on_epoch_end(self, epoch, logs=None):
            seen.append(compat.read(self.model.trainable_weights[0]).copy())
            records.append(next(iter(callback._record.read(callback._weights).values())))

    callback = PruningScheduleCallback(ConstantSparsity(0.5, begin_step=100), criterion="saliency")
    with pytest.warns(UserWarning, match="does not reach"):
        model.fit(*leaning_data(), batch_size=16, verbose=0, callbacks=[callback, Read()])
    expected = sum(np.abs(before * (before - after) / 0.05) for before, after in itertools.pairwise(seen))
    np.testing.assert_allclose(records[0], expected, rtol=1e-4, atol=1e-5)


def test_regrowth_gives_weights_back_and_keeps_the_sparsity():
    model = leaning_model()
    compat.assign(model.trainable_weights[0], np.array([0.5] * 4 + [0.6] * 4, "float32")[:, None])
    schedule = ConstantSparsity(0.5, begin_step=0, end_step=160, frequency=20)
    masks = Watch(lambda fitted: compat.read(fitted.trainable_weights[0])[:, 0] == 0)
    callback = PruningScheduleCallback(schedule, regrow="gradient")
    model.fit(*leaning_data(), batch_size=8, epochs=20, verbose=0, callbacks=[callback, masks])
    assert masks.seen[0].tolist() == [True] * 4 + [False] * 4  # by magnitude, before any gradient
    assert (~masks.seen[-1])[:4].sum() >= 3  # exchanged for those that matter
    assert all(seen.sum() >= 4 for seen in masks.seen)
    assert masks.seen[-1].sum() == 4


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_regrowth_in_a_convolutional_model(policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = compiled(Segmenter())
        watch = Watch()
        schedule = ConstantSparsity(0.8, begin_step=0, end_step=8, frequency=2)
        fit(model, PruningScheduleCallback(schedule, regrow="gradient"), watch, epochs=3)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    expected = {path: round(0.8 * value.size) for path, value in kernels(model).items()}
    assert all(seen[path] >= expected[path] for seen in watch.seen for path in expected)
    assert watch.seen[-1] == expected


def test_ramps_in_epochs_and_fractions():
    for ramp in (ramp_by_epoch(0.8, 0.5, 1.5, updates=4), ramp_by_fraction(0.8, 0.25, 0.75, updates=4)):
        model = compiled(Segmenter())
        watch = Watch()
        fit(model, PruningScheduleCallback(ramp), watch)
        totals = [sum(seen.values()) for seen in watch.seen]
        assert totals[0] < 20
        assert sorted(totals) == totals
        assert totals[5] == totals[7] == sum(round(0.8 * value.size) for value in kernels(model).values())
        assert totals[2] < totals[4] < totals[5]


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_a_ramp_needs_to_know_the_length_of_an_epoch():
    def batches():
        yield IMAGES[:8], conformance.LABELS[:8]

    with pytest.raises(ValueError, match="give `steps_per_epoch` to fit, or use PolynomialDecay"):
        compiled(Segmenter()).fit(
            batches(), shuffle=False, verbose=0, callbacks=[PruningScheduleCallback(ramp_by_fraction(0.8))]
        )


def test_channels_of_a_model_that_has_none_to_spare():
    with pytest.raises(ValueError, match=r"channel\(\) must find a layer.*kernel"):
        fit(
            compiled(conformance.functional()),
            PruningScheduleCallback(0.5, lambda weight: "conv2d_1" in compat.variable_path(weight), pattern=channel()),
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": 0.5, "pattern": "2:4"}, "`pattern` must be None, block"),
        ({"schedule": 0.5, "scope": "model"}, "`scope` must be one of layer, global.*'model'"),
        ({"schedule": 0.5, "criterion": "l1"}, "`criterion` must be one of magnitude, saliency"),
        ({"schedule": RISING, "regrow": "random"}, "`regrow` must be one of gradient"),
        ({"schedule": 0.5, "scope": "global", "distribution": "erk"}, "spreads the zeros itself"),
        ({"schedule": 0.5, "pattern": n_of_m(), "distribution": "erk"}, "n_of_m needs the same sparsity"),
        ({"schedule": 0.4, "pattern": n_of_m()}, "must end at 0.5000 or more.*0.4000"),
        ({"schedule": 0.5, "regrow": "gradient"}, "no gradient is known; give a schedule that goes on"),
        ({"schedule": 0.5, "criterion": "saliency"}, "no gradient is known"),
        ({"schedule": RISING, "regrow": "gradient", "scope": "global"}, "exchanges single weights"),
        ({"schedule": {"kernel": 1.5}}, r"in \[0, 1\).*1.5"),
        ({"schedule": {}}, "at least one regex"),
        ({"schedule": {"(": 0.5}}, "regular expressions"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PruningScheduleCallback(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ramp_by_epoch(0.8, 3, 2), "0 <= begin < end.*begin=3, end=2"),
        (lambda: ramp_by_fraction(0.8, 0.5, 1.5), "fractions of the training.*end=1.5"),
        (lambda: ramp_by_epoch(1.0, 0, 2), "`final_sparsity`"),
        (lambda: ramp_by_epoch(0.8, 0, 2, updates=0), "`updates` must be a whole number, at least 1"),
    ],
)
def test_bad_ramps(make, message):
    with pytest.raises(ValueError, match=message):
        make()
