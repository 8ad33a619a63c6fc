""" "Best" counts at the target sparsity only; without the wrapper, that it does not is said with figures."""

import contextlib
import importlib
import warnings

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import (
    AtTargetSparsity,
    ClusterOnTrainEndCallback,
    ConstantSparsity,
    PolynomialDecay,
    PruningScheduleCallback,
)
from segopt_callbacks.compat import keras
from tests import conformance
from tests.conformance import IMAGES, LABELS, Segmenter, Watch, compiled, fit, kernels, zeros

ORDERS = [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
EarlyStopping = keras.callbacks.EarlyStopping
ModelCheckpoint = keras.callbacks.ModelCheckpoint


class Score(Watch):
    """The logs' "score" is best in the first epoch and falls; remembers the kernels of every epoch's end."""

    def __init__(self):
        super().__init__(lambda model: list(kernels(model).values()))

    def on_train_batch_end(self, batch, logs=None):
        pass

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = logs["val_score"] = 1.0 / (1 + epoch)
        self.seen.append(self.record(self.model))


def model():
    return compiled(conformance.functional())


def rising(end_step=6):
    """Four steps an epoch: the default reaches its target in the middle of the second epoch."""
    return PruningScheduleCallback(PolynomialDecay(0.0, 0.8, 0, end_step, frequency=1) if end_step else 0.8)


def expected(fitted, sparsity=0.8):
    return [round(sparsity * value.size) for value in kernels(fitted).values()]


def stopping(monitor="val_score", **arguments):
    return EarlyStopping(monitor, mode="max", patience=10, restore_best_weights=True, **arguments)


def assert_equal(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_best_counts_at_the_target_in_any_order(order, tmp_path):
    """The second epoch was validated with the final masks; the first, which scores better, was not."""
    score, stop = Score(), stopping()
    checkpoint = ModelCheckpoint(str(tmp_path / "best.keras"), monitor="val_score", mode="max", save_best_only=True)
    callbacks = [rising(), AtTargetSparsity(stop), AtTargetSparsity(checkpoint)]
    fitted = model()
    fit(fitted, score, *(callbacks[place] for place in order), epochs=4)
    assert stop.best_epoch == 1
    assert list(zeros(fitted).values()) == expected(fitted)
    assert_equal(kernels(fitted).values(), score.seen[1])
    saved = keras.models.load_model(tmp_path / "best.keras", compile=False)
    assert_equal(kernels(saved).values(), score.seen[1])


@pytest.mark.parametrize("make", [Segmenter, conformance.functional], ids=["unbuilt", "built"])
@pytest.mark.parametrize(("end_step", "first"), [(6, 2), (0, 0)], ids=["rising", "at_once"])
def test_what_is_gathered_over_an_epoch_counts_if_all_of_it_was_at_the_target(end_step, first, make):
    stop = stopping("score")
    fit(compiled(make()), Score(), AtTargetSparsity(stop), rising(end_step), epochs=4)
    assert stop.best_epoch == first


def test_checkpoints_between_epochs_begin_with_the_first_epoch_at_the_target(tmp_path):
    path = tmp_path / "saved"
    checkpoint = ModelCheckpoint(str(path / "{epoch}-{batch}.keras"), save_freq=2)
    fit(model(), AtTargetSparsity(checkpoint), rising(), epochs=4)
    assert sorted(one.name for one in path.iterdir()) == [
        f"{epoch}-{batch}.keras" for epoch in (3, 4) for batch in (2, 4)
    ]


def test_every_pruning_callback_must_be_at_its_target():
    fitted, stop = model(), stopping()
    first, second = (layer.name for layer in fitted.layers[1:])
    late = PruningScheduleCallback(PolynomialDecay(0.0, 0.5, 0, 12, frequency=1), f"{second}/")
    fit(fitted, Score(), PruningScheduleCallback(0.8, f"{first}/"), AtTargetSparsity(stop), late, epochs=4)
    assert stop.best_epoch == 2
    assert list(zeros(fitted).values()) == [round(0.8 * 216), 12]


def test_one_wrapper_serves_several_fits():
    stop = stopping()
    wrapped = AtTargetSparsity(stop)
    for _ in range(2):
        fit(model(), Score(), rising(), wrapped, epochs=3)
        assert stop.best_epoch == 1


def test_a_callback_of_the_other_keras():
    other = importlib.import_module("keras" if "tf_keras" in keras.__name__ else "tf_keras")
    stop = other.callbacks.EarlyStopping("val_score", mode="max", patience=10, restore_best_weights=True)
    fitted, score = model(), Score()
    fit(fitted, score, AtTargetSparsity(stop), rising(), epochs=3)
    assert_equal(kernels(fitted).values(), score.seen[1])


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_the_best_weights_are_restored_before_they_are_clustered(order):
    """Without a warning: what is clustered is what an epoch evaluated."""
    callbacks = [AtTargetSparsity(stopping()), ClusterOnTrainEndCallback(4), rising()]
    fitted, score = model(), Score()
    fit(fitted, score, *(callbacks[place] for place in order), epochs=3)
    assert all(np.unique(value).size <= 4 for value in kernels(fitted).values())
    assert_equal([value == 0 for value in kernels(fitted).values()], [value == 0 for value in score.seen[1]])


def test_masks_that_move_at_the_target_come_back_with_the_best_weights():
    schedule = ConstantSparsity(0.8, begin_step=1, end_step=16, frequency=1)
    fitted, score = model(), Score()
    fit(fitted, score, PruningScheduleCallback(schedule, regrow="gradient"), AtTargetSparsity(stopping()), epochs=4)
    assert any((one == 0)[other != 0].any() for one, other in zip(score.seen[0], score.seen[-1], strict=True))
    assert_equal(kernels(fitted).values(), score.seen[0])


def test_everything_else_is_handed_on():
    class Recorder(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.called = []

    for name in dir(keras.callbacks.Callback):
        if name.startswith(("on_train_", "on_test_", "on_epoch_")):
            setattr(Recorder, name, lambda self, *_, _name=name, **__: self.called.append(_name))
    recorder, callback, fitted = Recorder(), rising(end_step=4), model()
    fit(fitted, callback, AtTargetSparsity(recorder), validation_data=(IMAGES[:8], LABELS[:8]))
    assert recorder.model is fitted
    assert recorder.params["epochs"] == 2
    test = ["on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end"]
    assert recorder.called == [
        "on_train_begin",
        *["on_epoch_begin", *["on_train_batch_begin"] * 4, *test],
        *["on_epoch_begin", *["on_train_batch_begin", "on_train_batch_end"] * 4, *test, "on_epoch_end"],
        "on_train_end",
    ]


@contextlib.contextmanager
def messages():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        texts = []
        yield texts
    texts += [str(one.message) for one in caught if issubclass(one.category, UserWarning)]


def test_a_target_that_is_never_reached_is_told(tmp_path):
    checkpoint = ModelCheckpoint(str(tmp_path / "best.keras"), monitor="score", mode="max", save_best_only=True)
    with messages() as texts:
        fit(model(), Score(), AtTargetSparsity(checkpoint), rising(end_step=30))
    assert any("ModelCheckpoint judged and saved nothing" in text and "after 8 steps" in text for text in texts)
    assert not (tmp_path / "best.keras").exists()


@pytest.mark.parametrize("place", ["before", "behind"])
def test_early_stopping_that_restores_dense_weights_is_told_with_both_sparsities(place):
    fitted = model()
    callbacks = [stopping(), rising(end_step=8)]
    with messages() as texts:
        fit(fitted, Score(), *(callbacks if place == "before" else reversed(callbacks)), epochs=3)
    assert len(texts) == 1
    # 4 of 8 steps lead to 0.7.
    assert "sparsity 0.7000 where the masks have 0.8000" in texts[0]
    assert "AtTargetSparsity(EarlyStopping(...))" in texts[0]
    assert list(zeros(fitted).values()) == expected(fitted)


@pytest.mark.parametrize("place", ["before", "behind"])
def test_early_stopping_within_the_target_is_no_reason_to_warn(place):
    callbacks = [stopping(start_from_epoch=1), rising()]
    fit(model(), Score(), *(callbacks if place == "before" else reversed(callbacks)), epochs=3)


@pytest.mark.parametrize("place", ["before", "behind"])
def test_a_best_checkpoint_below_the_target_is_told_with_both_sparsities(place, tmp_path):
    path = tmp_path / "best.keras"
    checkpoint = ModelCheckpoint(str(path), monitor="score", mode="max", save_best_only=True)
    callbacks = [checkpoint, rising(end_step=8)]
    with messages() as texts:
        fit(model(), Score(), *(callbacks if place == "before" else reversed(callbacks)), epochs=3)
    assert len(texts) == 1
    assert "at step 4, at sparsity 0.7000, where the fit ended at 0.8000" in texts[0]
    assert "best.keras" in texts[0]
    assert "AtTargetSparsity(ModelCheckpoint(...))" in texts[0]


def test_a_best_checkpoint_at_the_target_is_no_reason_to_warn(tmp_path):
    checkpoint = ModelCheckpoint(str(tmp_path / "best.keras"), monitor="score", mode="min", save_best_only=True)
    fit(model(), Score(), rising(end_step=8), checkpoint, epochs=3)


def test_nothing_that_prunes():
    with pytest.raises(ValueError, match="must stand beside a callback that prunes"):
        fit(model(), AtTargetSparsity(stopping()))


@pytest.mark.parametrize("order", [1, -1])
def test_the_target_of_any_callable_is_what_it_sets_last(order):
    stop = stopping()
    callbacks = [PruningScheduleCallback(lambda step: (step in (0, 6), step / 20)), AtTargetSparsity(stop)]
    fit(model(), Score(), *callbacks[::order], epochs=3)
    assert stop.best_epoch == 1


def test_the_target_of_any_callable_is_not_known_in_a_fit_of_unknown_length():
    def batches():
        yield from (2 * [(IMAGES[:8], LABELS[:8])])

    callbacks = [PruningScheduleCallback(lambda step: (step == 1, 0.5)), AtTargetSparsity(stopping())]
    with pytest.raises(ValueError, match="give `steps_per_epoch` to fit"):
        model().fit(batches(), shuffle=False, verbose=0, callbacks=callbacks)


@pytest.mark.parametrize("callback", [None, "EarlyStopping", PruningScheduleCallback(0.5)])
def test_bad_arguments(callback):
    with pytest.raises(ValueError, match="`callback` must be a callback that judges"):
        AtTargetSparsity(callback)


class SaveAtTheEnd(keras.callbacks.Callback):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_train_end(self, logs=None):
        self.model.save(self.path / "model.keras")
        tf.saved_model.save(self.model, str(self.path / "saved_model"))


@pytest.mark.parametrize("use_ema", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_what_a_users_callback_saves_at_the_end_is_sparse(order, use_ema, tmp_path):
    fitted = compiled(conformance.functional(), optimizer=keras.optimizers.Adam(1e-2, use_ema=use_ema))
    fit(fitted, *[rising(), SaveAtTheEnd(tmp_path)][::order])
    assert list(zeros(keras.models.load_model(tmp_path / "model.keras", compile=False)).values()) == expected(fitted)
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    variables = loaded.signatures["serving_default"].variables
    assert sorted(int((one.numpy() == 0).sum()) for one in variables if len(one.shape) > 1) == sorted(expected(fitted))


def test_a_promise_that_does_not_hold_at_the_end_raises():
    class Spoiler(ClusterOnTrainEndCallback):
        def finish(self, logs=None):
            self.model.set_weights([np.ones(value.shape) for value in self.model.get_weights()])

    with messages(), pytest.raises(RuntimeError, match="must stay so.*the promise of PruningScheduleCallback broken"):
        fit(model(), PruningScheduleCallback(0.8), Spoiler(4))


def test_clusters_that_take_the_zeros_away_contradict_pruning():
    with pytest.raises(ValueError, match="preserve_sparsity=True.*kernel"):
        fit(model(), ClusterOnTrainEndCallback(4, preserve_sparsity=False), PruningScheduleCallback(0.8))
