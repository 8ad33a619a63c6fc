"""The optimizer's averages of pruned weights (`use_ema`) are pruned with them, wherever Keras puts them."""

import pathlib
import sys

import numpy as np
import pytest

from segopt_callbacks import PolynomialDecay, PruningScheduleCallback, compat
from segopt_callbacks.compat import keras
from tests import conformance, warm
from tests.conformance import IMAGES, LABELS, Segmenter, Watch, compiled, fit, kernels, zeros

only_keras_3 = pytest.mark.skipif(not hasattr(keras.callbacks, "SwapEMAWeights"), reason="not in Keras 2")


def adam(**arguments):
    return keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.7, **arguments)


def zeros_with_averages(model):
    """For each kernel: how many zeros it has, and how many of them its averages have too."""
    counts = []
    for weight in model.trainable_weights:
        value = compat.read(weight)
        if value.ndim >= 2:
            averages = [compat.read(average) for average in compat.averages_of(model, weight)]
            counts.append((int((value == 0).sum()), *(int(((one == 0) & (value == 0)).sum()) for one in averages)))
    return counts


def expected(model, sparsity=0.8, copies=2):
    return [(round(sparsity * value.size),) * copies for value in kernels(model).values()]


class Probe(Watch):
    """Records the zeros after each batch, whenever the model is evaluated, and when the epoch ends."""

    def __init__(self):
        super().__init__(zeros_with_averages)

    def on_test_batch_end(self, batch, logs=None):
        self.on_train_batch_end(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.on_train_batch_end(epoch)


def fit_with(model, *callbacks, **fit_args):
    return fit(model, *callbacks, validation_data=(IMAGES[:8], LABELS[:8]), **fit_args)


@pytest.mark.parametrize(
    ("compile_args", "every"),
    [({}, None), ({}, 3), ({"jit_compile": True}, None), ({"steps_per_execution": 2}, 3), ({"run_eagerly": True}, 3)],
    ids=["graph", "overwrite", "jit", "steps_per_execution", "eager"],
)
def test_weights_and_averages_have_the_same_zeros_after_every_batch(compile_args, every):
    """Fact 4, and no warning of a train_step that would bypass the optimizer."""
    model = compiled(Segmenter(), optimizer=adam(ema_overwrite_frequency=every), **compile_args)
    before, behind = Probe(), Probe()
    fit_with(model, before, PruningScheduleCallback(0.8), behind)
    assert len(before.seen) >= 8
    assert all(seen == expected(model) for seen in before.seen + behind.seen)
    assert zeros_with_averages(model) == expected(model)


def test_averages_follow_a_schedule():
    model = compiled(Segmenter(), optimizer=adam())
    watch = Probe()
    fit_with(model, PruningScheduleCallback(PolynomialDecay(0.0, 0.8, 0, 7, frequency=1)), watch)
    assert all(counts == (counts[0],) * 2 for seen in watch.seen for counts in seen)
    assert zeros_with_averages(model) == expected(model)


def test_averages_of_an_earlier_fit_are_pruned_at_once():
    model = compiled(Segmenter(), optimizer=adam())
    fit(model)
    watch = Probe()
    fit_with(model, watch, PruningScheduleCallback(0.8))
    assert all(seen == expected(model) for seen in watch.seen)


def test_averages_behind_a_loss_scale():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = compiled(Segmenter(), optimizer=adam())
        watch = Probe()
        fit_with(model, watch, PruningScheduleCallback(0.8))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert type(model.optimizer).__name__.startswith("LossScale")
    assert all(seen == expected(model) for seen in watch.seen)


def test_the_users_own_constraint_does_not_reach_the_averages():
    layer = keras.layers.Conv2D(3, 3, padding="same", kernel_constraint=keras.constraints.MaxNorm(0.01))
    model = compiled(keras.Sequential([keras.Input((8, 8, 3)), layer]), optimizer=adam())
    watch = Watch(lambda fitted: compat.read(compat.averages_of(fitted, fitted.trainable_weights[0])[0]))
    fit(model, PruningScheduleCallback(0.5), watch)
    assert all((average == 0).sum() == 40 for average in watch.seen)
    assert np.abs(watch.seen[0]).max() > 0.0101


@only_keras_3
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_swapped_averages_in_any_order(swap_on_epoch, order, tmp_path):
    """While the model is evaluated, in the checkpoint of every epoch, and after the fit."""
    model = compiled(conformance.functional(), optimizer=adam())
    callbacks = (
        PruningScheduleCallback(0.8),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=swap_on_epoch),
        keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras")),
    )
    before, behind = Probe(), Probe()
    fit_with(model, before, *(callbacks[place] for place in order), behind)
    assert all(seen == expected(model) for seen in before.seen + behind.seen)
    assert zeros_with_averages(model) == expected(model)
    for epoch in (1, 2):
        saved = keras.models.load_model(tmp_path / f"{epoch}.keras", compile=False)
        assert list(zeros(saved).values()) == [count for count, _ in expected(model)]


@only_keras_3
def test_averages_of_several_optimizers():
    first = keras.optimizers.Adam(1e-2, use_ema=True)
    optimizers = keras.optimizers.OptimizerMap(first, {".*_1/.*": keras.optimizers.SGD(1e-2)})
    model = compiled(conformance.functional(), optimizer=keras.optimizers.MultiOptimizer(optimizers))
    watch = Probe()
    fit(model, watch, PruningScheduleCallback(0.8))
    counts = expected(model)
    assert any(len(seen) == 2 for seen in watch.seen[0])
    assert all(tuple(seen) == want[: len(seen)] for step in watch.seen for seen, want in zip(step, counts, strict=True))
    assert [count for count, *_ in zeros_with_averages(model)] == [count for count, _ in counts]


def test_averages_on_every_replica():
    result = warm.run(
        [sys.executable, "-W", "ignore", "-m", "tests.fit.averages_case"],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.stdout.strip().endswith("exact 9 of 9"), result.stdout + result.stderr[-4000:]
