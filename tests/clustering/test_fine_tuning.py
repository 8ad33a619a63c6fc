import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import (
    AtTargetSparsity,
    ClusterOnTrainEndCallback,
    ClusterScheduleCallback,
    PolynomialDecay,
    PruningScheduleCallback,
    ReestimateBatchNormCallback,
    compat,
)
from segopt_callbacks.clustering.shared import Clustered
from segopt_callbacks.compat import keras
from tests import conformance
from tests.conformance import (
    IMAGES,
    SITUATIONS,
    Bypassing,
    Segmenter,
    Watch,
    built,
    compiled,
    fit,
    functional,
    kernels,
    zeros,
)

BEGIN, LAST = 3, 8


def distinct(model):
    return [np.unique(value).size for value in kernels(model).values()]


def check_every_step(model, seen, *, begin=BEGIN, per_batch=1, clusters=6):
    assert len(seen) == LAST // per_batch
    for step, counts in enumerate(seen, 1):
        if step * per_batch >= begin:
            assert all(2 <= count <= clusters for count in counts), (step, counts)
    assert max(seen[0]) > clusters


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_few_values_after_every_step_and_they_train(situation):
    model = compiled(situation.make(), **situation.compile_args)
    for _ in range(situation.fits_before):
        fit(model)
    for number in range(situation.fits):
        watch, values = Watch(distinct), Watch(lambda one: list(kernels(one).values()))
        fit(model, ClusterScheduleCallback(6, begin_step=BEGIN), watch, values)
        if number == 0:
            check_every_step(model, watch.seen, per_batch=situation.compile_args.get("steps_per_execution", 1))
        assert all(count <= 6 for count in distinct(model))
        assert any(not np.array_equal(*pair) for pair in zip(values.seen[-2], values.seen[-1], strict=True))


@pytest.mark.parametrize("order", [1, -1])
def test_pruned_while_it_is_clustered_whatever_comes_first_in_the_list(order):
    model = compiled(Segmenter())
    schedule = PolynomialDecay(0.2, 0.8, begin_step=1, end_step=6, frequency=1)
    counts, pruned = Watch(distinct), Watch(zeros)
    callbacks = [PruningScheduleCallback(schedule), ClusterScheduleCallback(6, begin_step=BEGIN)][::order]
    fit(model, *callbacks, counts, pruned)
    check_every_step(model, counts.seen)
    assert pruned.seen[-1] == {path: round(0.8 * value.size) for path, value in kernels(model).items()} == zeros(model)
    for before, after in zip(pruned.seen, pruned.seen[1:], strict=False):
        assert all(before[path] <= after[path] for path in before)


def test_zeros_never_fill():
    model = built(functional)()
    kernel = model.trainable_weights[0]
    compat.assign(kernel, np.where(np.arange(216).reshape(3, 3, 3, 8) % 3, compat.read(kernel), 0.0))
    is_zero = compat.read(kernel) == 0
    watch = Watch(lambda one: bool((compat.read(one.trainable_weights[0])[is_zero] == 0).all()))
    fit(compiled(model), ClusterScheduleCallback(6, begin_step=0), watch)
    assert all(watch.seen)
    compat.assign(kernel, np.where(is_zero, 0.0, compat.read(kernel)))
    fit(compiled(model), ClusterScheduleCallback(6, begin_step=0, preserve_sparsity=False))
    assert not (compat.read(kernel)[is_zero] == 0).all()


@pytest.mark.parametrize(
    "compile_args",
    [
        {"optimizer": keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=1e-3)},
        {"optimizer": keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.5)},
        {"optimizer": keras.optimizers.Adam(1e-2, use_ema=True, ema_overwrite_frequency=2), "jit_compile": True},
        {"run_eagerly": True},
    ],
    ids=["momentum", "ema", "ema_jit", "eager"],
)
@pytest.mark.parametrize("reassign_every", [None, pytest.param(2, marks=pytest.mark.either_keras)])
def test_optimizers(compile_args, reassign_every):
    if "optimizer" in compile_args:
        args = {
            **compile_args,
            "optimizer": type(compile_args["optimizer"]).from_config(compile_args["optimizer"].get_config()),
        }
    else:
        args = compile_args
    model = compiled(Segmenter(), **args)
    watch = Watch(distinct)
    fit(model, ClusterScheduleCallback(6, begin_step=BEGIN, reassign_every=reassign_every), watch)
    check_every_step(model, watch.seen)
    assert all(count <= 6 for count in distinct(model))


def test_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = compiled(Segmenter())
        watch = Watch(distinct)
        fit(model, ClusterScheduleCallback(6, begin_step=BEGIN), watch)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    check_every_step(model, watch.seen)


def test_a_centroid_moves_by_the_mean_gradient_of_its_members():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(8, 6)).astype("float32"), random.normal(size=(8, 5)).astype("float32")
    kernel = model.trainable_weights[0]
    values = Watch(lambda one: compat.read(one.trainable_weights[0]))
    model.fit(
        inputs, targets, batch_size=8, epochs=3, verbose=0, callbacks=[ClusterScheduleCallback(4, begin_step=1), values]
    )
    for before, after in zip(values.seen, values.seen[1:], strict=False):
        gradient = 2 * inputs.T @ (inputs @ before - targets) / targets.size  # of the mean squared error
        for centroid in np.unique(before):
            members = before == centroid
            expected = centroid - 0.5 * gradient[members].mean()
            np.testing.assert_allclose(after[members], expected, rtol=1e-5, atol=1e-7)
    assert compat.read(kernel).shape == (6, 5)


def test_equal_weights_stay_what_they_are_however_many():
    value = np.float32(0.1234567)
    clustered = Clustered((1_000_000,), 2)
    clustered.share(np.zeros(1_000_000, np.int32), np.zeros(2, bool))
    assert np.all(clustered(tf.fill([1_000_000], value)).numpy() == value)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_projection_is_the_mean_of_each_cluster(jit_compile):
    random = np.random.default_rng(1)
    weight = random.normal(size=(7, 3, 5)).astype("float32")
    assignment = random.integers(0, 6, weight.shape).astype("int32")
    clustered = Clustered(weight.shape, 8)
    project = tf.function(clustered, jit_compile=jit_compile)
    np.testing.assert_array_equal(project(tf.constant(weight)), weight)  # nothing before `share`
    clustered.share(assignment, np.array([False] * 5 + [True]))
    expected = np.empty_like(weight)
    for index in range(6):
        expected[assignment == index] = 0 if index == 5 else weight[assignment == index].astype(np.float64).mean()
    np.testing.assert_array_equal(project(tf.constant(weight)), expected)
    clustered.let_go()
    np.testing.assert_array_equal(project(tf.constant(weight)), weight)


def test_reassigned_by_what_the_weights_would_be():
    model = built(functional)()
    kernel = model.trainable_weights[0]
    callback = ClusterScheduleCallback(4, begin_step=1, reassign_every=2, filters=r"conv2d(_\d+)?/kernel")
    shares = []
    share = callback._share
    callback._share = lambda path, values=None: (shares.append((path, values)), share(path, values))
    fit(compiled(model, optimizer=keras.optimizers.SGD(0.5)), callback, epochs=3)
    assert {np.unique(compat.read(kernel)).size} <= {2, 3, 4}
    again = [values for path, values in shares if values is not None and np.unique(values).size > 4]
    assert again, "new assignments saw clustered weights only"


@pytest.mark.parametrize("fold_batch_norm", [True, False])
@pytest.mark.parametrize("jit_compile", [True, False])
def test_a_folded_normalisation_trains_as_it_infers(fold_batch_norm, jit_compile):
    model = compiled(Segmenter(), jit_compile=jit_compile)
    moving = Watch(lambda one: compat.read_statistic(one.encoder.normalize.moving_variance).copy())
    offsets = Watch(lambda one: compat.read(one.encoder.normalize.beta).copy())
    fit(model, moving, offsets, ClusterScheduleCallback(6, begin_step=BEGIN, fold_batch_norm=fold_batch_norm))
    changes = [not np.array_equal(*pair) for pair in zip(moving.seen, moving.seen[1:], strict=False)]
    frozen = LAST - BEGIN - 1 if fold_batch_norm else 0  # `moving` looks before the kernel is clustered at that step
    assert changes == [True] * (LAST - 1 - frozen) + [False] * frozen
    assert not np.array_equal(offsets.seen[-1], offsets.seen[-2])
    assert "call" not in vars(model.encoder.normalize)
    before = moving.seen[-1]
    fit(model, moving)
    assert not np.array_equal(moving.seen[-1], before)


def test_statistics_that_were_trained_with_are_not_refreshed():
    model = compiled(Segmenter())
    values = Watch(lambda one: compat.read_statistic(one.encoder.normalize.moving_mean).copy())
    with pytest.warns(UserWarning, match="no statistics to refresh"):
        fit(model, values, ClusterScheduleCallback(6, begin_step=BEGIN), ReestimateBatchNormCallback(IMAGES))
    np.testing.assert_array_equal(compat.read_statistic(model.encoder.normalize.moving_mean), values.seen[-1])


@pytest.mark.parametrize("per_channel", [True, -1, 2])
def test_per_channel(per_channel):
    model = compiled(functional())
    axis = -1 if per_channel is True else per_channel
    watch = Watch(
        lambda one: max(
            np.unique(channel).size for value in kernels(one).values() for channel in np.moveaxis(value, axis, 0)
        )
    )
    fit(model, ClusterScheduleCallback(3, begin_step=2, per_channel=per_channel), watch)
    assert all(count <= 3 for count in watch.seen[1:])
    assert watch.seen[0] > 3


def test_a_train_step_that_bypasses_the_optimizer_is_noticed():
    model, watch = Bypassing(), Watch(distinct)
    model.compile("sgd")
    with pytest.warns(UserWarning, match="runs no constraint"):
        fit(model, ClusterScheduleCallback(6, begin_step=BEGIN), watch)
    assert all(count <= 6 for counts in watch.seen[BEGIN:] for count in counts)


def test_a_begin_that_never_comes_is_told_and_weights_are_clustered_at_the_end():
    model = compiled(Segmenter())
    with pytest.warns(UserWarning, match=r"begin_step=50, and this fit has 8 steps"):
        fit(model, ClusterScheduleCallback(6, begin_step=50))
    assert all(count <= 6 for count in distinct(model))


def test_restored_dense_weights_are_told_and_clustered_again():
    model = compiled(functional())

    class Restore(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.weights = None

        def on_epoch_end(self, epoch, logs=None):
            if self.weights is None:
                self.weights = [value + 0.01 for value in self.model.get_weights()]

        def on_train_end(self, logs=None):
            self.model.set_weights([np.random.default_rng(0).normal(size=value.shape) for value in self.weights])

    with pytest.warns(UserWarning, match=r"AtTargetSparsity\(EarlyStopping"):
        fit(model, Restore(), ClusterScheduleCallback(6, begin_step=BEGIN))
    assert all(count <= 6 for count in distinct(model))


def test_only_epochs_with_clustered_weights_count():
    model = compiled(functional())
    stop = keras.callbacks.EarlyStopping("loss", patience=10, restore_best_weights=True)
    history = fit(model, ClusterScheduleCallback(4, begin_step=6), AtTargetSparsity(stop), epochs=4)
    assert stop.best == min(history.history["loss"][2:])
    assert all(count <= 4 for count in distinct(model))


def test_two_callbacks_for_one_weight_contradict():
    with pytest.raises(ValueError, match="one .* only; give each its own `filters`"):
        fit(compiled(functional()), ClusterScheduleCallback(4, begin_step=0), ClusterOnTrainEndCallback(4))


@pytest.mark.parametrize("arguments", [{"begin_step": -1}, {"begin_step": 1.5}, {"begin_step": 0, "reassign_every": 0}])
def test_bad_steps(arguments):
    with pytest.raises(ValueError, match="number of steps, at least .*Received"):
        ClusterScheduleCallback(4, **arguments)


def test_a_resumed_fit_continues_with_its_clusters(tmp_path):
    class Killed(Exception):
        pass

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise Killed

    def start(*callbacks):
        keras.utils.set_random_seed(5)
        model = compiled(built(Segmenter)())
        backup = keras.callbacks.BackupAndRestore(str(tmp_path))
        fit(model, ClusterScheduleCallback(6, begin_step=2), backup, *callbacks, epochs=4)
        return model

    with pytest.raises(Killed):
        start(Kill())
    resumed = start()
    keras.utils.set_random_seed(5)
    whole = compiled(built(Segmenter)())
    fit(whole, ClusterScheduleCallback(6, begin_step=2), epochs=4)
    for one, other in zip(kernels(resumed).values(), kernels(whole).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_nothing_is_left_behind():
    model = compiled(functional())
    fit(model, ClusterScheduleCallback(4, begin_step=0))
    assert all(compat.get_constraint(weight) is None for weight in model.trainable_weights)
    fit(model)
    assert max(distinct(model)) > 4
    assert conformance.kernels(model)
