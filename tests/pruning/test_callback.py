import numpy as np
import pytest

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ConstantSparsity,
    PolynomialDecay,
    PruningScheduleCallback,
    compat,
)
from segopt_callbacks.compat import keras
from tests import conformance
from tests.conformance import Segmenter, Watch, built, compiled, fit, kernels, zeros


def expected_zeros(model, sparsity):
    return {path: round(sparsity * value.size) for path, value in kernels(model).items()}


def test_nothing_is_added_to_the_model():
    with_callback, without = compiled(built(Segmenter)()), compiled(built(Segmenter)())
    names = [weight.shape for weight in without.weights]
    fit(with_callback, PruningScheduleCallback(0.5))
    assert [weight.shape for weight in with_callback.weights] == names
    assert all(compat.get_constraint(weight) is None for weight in with_callback.trainable_weights)


@pytest.mark.parametrize("frequency", [1, 3, 100])
@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_a_schedule_reaches_its_final_sparsity(frequency, steps_per_execution, outcome):
    """Fact 8: whatever the frequency, and however many steps pass between two batches."""
    model = compiled(Segmenter(), steps_per_execution=steps_per_execution)
    schedule = PolynomialDecay(0.2, 0.9, begin_step=1, end_step=6, frequency=frequency)
    watch = Watch()
    fit(model, PruningScheduleCallback(schedule), watch)
    assert zeros(model) == expected_zeros(model, 0.9)
    totals = [sum(seen.values()) for seen in watch.seen]
    assert totals == sorted(totals)
    assert totals[0] < totals[-1]
    outcome("exact at its end, which is pruned at in any case")


def test_a_schedule_that_begins_later():
    model = compiled(Segmenter())
    watch = Watch()
    fit(model, PruningScheduleCallback(ConstantSparsity(0.5, begin_step=5)), watch)
    reached = [seen == expected_zeros(model, 0.5) for seen in watch.seen]
    assert reached == [False] * 4 + [True] * 4


def test_masks_nest_along_a_schedule():
    model = compiled(Segmenter())
    watch = Watch(lambda fitted: {path: value == 0 for path, value in kernels(fitted).items()})
    fit(model, PruningScheduleCallback(PolynomialDecay(0.0, 0.9, 0, 7, frequency=1)), watch)
    for before, after in zip(watch.seen, watch.seen[1:], strict=False):
        assert all((after[path] | ~before[path]).all() for path in before)


def test_the_steps_of_a_schedule_count_from_the_beginning_of_each_fit():
    model = compiled(Segmenter())
    fit(model)
    callback = PruningScheduleCallback(PolynomialDecay(0.0, 0.8, begin_step=4, end_step=6, frequency=1))
    for _ in range(2):
        watch = Watch()
        fit(model, callback, watch)
        assert sum(watch.seen[2].values()) < sum(watch.seen[-1].values())
        assert zeros(model) == expected_zeros(model, 0.8)


@pytest.mark.parametrize("begin_step", [2, 30])
def test_a_schedule_that_does_not_fit_into_the_training_is_told_at_its_beginning(begin_step):
    model = compiled(Segmenter())
    schedule = PolynomialDecay(0.2, 0.8, begin_step=begin_step, end_step=40, frequency=2)

    reached = "0.0000" if begin_step == 30 else r"0\.[2-7]\d+"
    with pytest.warns(UserWarning, match=rf"8 steps lead to {reached} of 0.8000; let it end earlier"):
        fit(model, PruningScheduleCallback(schedule))


def test_a_schedule_that_is_cut_short_is_told_at_the_end():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=8, frequency=2)
    with pytest.warns(UserWarning, match="4 steps lead to 0.7"):
        fit(compiled(Segmenter()), PruningScheduleCallback(schedule), Stop())


@pytest.mark.filterwarnings("ignore:The schedule does not reach:UserWarning")
def test_a_resumed_fit_continues_the_schedule():
    model = compiled(Segmenter())
    schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=8, frequency=1)
    fit(model, PruningScheduleCallback(schedule), epochs=1)
    at_half = zeros(model)
    watch = Watch()
    fit(model, PruningScheduleCallback(schedule), watch, initial_epoch=1)
    assert all(sum(seen.values()) > sum(at_half.values()) for seen in watch.seen)
    assert zeros(model) == expected_zeros(model, 0.8)


def test_backup_and_restore_brings_the_masks_back(tmp_path):
    """Fact 7: masks are read from the restored weights, wherever BackupAndRestore stands in the list."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.kernels = kernels(self.model)
                raise KeyboardInterrupt

    schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=8, frequency=1)

    def callbacks():
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"), delete_checkpoint=False)
        return [PruningScheduleCallback(schedule), backup]

    stop = Stop()
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(built(Segmenter)()), *callbacks(), stop, epochs=4)
    model = compiled(built(Segmenter)())
    watch = Watch(lambda fitted: {path: value == 0 for path, value in kernels(fitted).items()})
    fit(model, *callbacks(), watch, epochs=4)
    for mask, kernel in zip(watch.seen[0].values(), stop.kernels.values(), strict=True):
        np.testing.assert_array_equal(mask, kernel == 0)
    assert zeros(model) == expected_zeros(model, 0.8)


def test_after_an_interrupted_fit_the_next_one_starts_clean():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    model = compiled(Segmenter())
    with pytest.raises(KeyboardInterrupt):
        fit(model, PruningScheduleCallback(0.9), Interrupt())
    fit(model, PruningScheduleCallback(0.95))
    assert zeros(model) == expected_zeros(model, 0.95)
    assert all(compat.get_constraint(weight) is None for weight in model.trainable_weights)


def test_after_an_interrupted_step_a_plain_fit_trains_every_weight():
    """No on_train_end comes then; without it the constraint would prune on in silence."""

    def interrupting_loss(true, predicted):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return keras.losses.sparse_categorical_crossentropy(true, predicted, from_logits=True)

    calls: list[int] = []
    model = compiled(Segmenter(), loss=interrupting_loss, run_eagerly=True)
    with pytest.raises(KeyboardInterrupt):
        fit(model, PruningScheduleCallback(0.5))
    assert sum(zeros(model).values()) > 0
    fit(compiled(model))
    assert sum(zeros(model).values()) < 10


def test_averaged_weights_are_pruned_too():
    """Fact 4: use_ema overwrites the weights with dense averages before on_train_end."""
    optimizer = keras.optimizers.Adam(1e-2, use_ema=True)
    model = compiled(Segmenter(), optimizer=optimizer)
    fit(model, PruningScheduleCallback(0.8))
    assert zeros(model) == expected_zeros(model, 0.8)


def test_early_stopping_that_restores_other_weights():
    model = compiled(Segmenter())
    schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=8, frequency=1)
    # "Best" is the first epoch, before the target sparsity; restored after our on_train_end.
    stop = keras.callbacks.EarlyStopping("sparsity", mode="min", patience=10, restore_best_weights=True)
    with pytest.warns(UserWarning, match="replaced the weights"):
        fit(model, PruningScheduleCallback(schedule), ClusterOnTrainEndCallback(4), stop, epochs=3)
    assert zeros(model) == expected_zeros(model, 0.8)
    assert all(np.unique(value).size <= 4 for value in kernels(model).values())


def test_erk_keeps_the_mean_and_spares_small_weights():
    model = compiled(Segmenter())
    history = fit(model, PruningScheduleCallback(0.8, distribution="erk"))
    sizes = {path: value.size for path, value in kernels(model).items()}
    assert sum(zeros(model).values()) == round(0.8 * sum(sizes.values()))
    assert history.history["sparsity"][-1] == pytest.approx(0.8, abs=1e-3)
    head = next(path for path in sizes if sizes[path] == 24)
    assert zeros(model)[head] < 0.8 * 24


def test_two_callbacks_with_filters_of_their_own():
    model = compiled(functional := conformance.functional())
    first, second = functional.layers[1].name, functional.layers[2].name
    fit(model, PruningScheduleCallback(0.5, f"{first}/"), PruningScheduleCallback(0.75, f"{second}/"))
    assert list(zeros(model).values()) == [108, 18]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": 1.0}, r"in \[0, 1\).*schedule=1.0"),
        ({"schedule": -0.1}, r"in \[0, 1\)"),
        ({"schedule": "0.5"}, "callable"),
        ({"schedule": True}, "callable"),
        ({"schedule": 0.5, "distribution": "er"}, "one of uniform, erk.*'er'"),
        ({"schedule": 0.5, "filters": "("}, "regular expressions"),
        ({"schedule": 0.5, "filters": []}, "at least one"),
        ({"schedule": 0.5, "filters": 3}, "a regex"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PruningScheduleCallback(**arguments)


@pytest.mark.parametrize("schedule", [lambda step: 0.5, lambda step: (True, 1.5), lambda step: (True, "much")])
def test_a_schedule_that_returns_nonsense(schedule):
    with pytest.raises(ValueError, match="schedule"):
        fit(compiled(conformance.functional()), PruningScheduleCallback(schedule))


def test_a_fit_without_steps_prunes_a_built_model():
    model = compiled(built(Segmenter)())
    fit(model, PruningScheduleCallback(0.5), epochs=1, initial_epoch=1)
    assert zeros(model) == expected_zeros(model, 0.5)


def test_a_fit_without_steps_cannot_prune_an_unbuilt_model():
    with pytest.raises(ValueError, match="must be built"):
        fit(compiled(Segmenter()), PruningScheduleCallback(0.5), epochs=1, initial_epoch=1)
