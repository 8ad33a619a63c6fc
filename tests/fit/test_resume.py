"""A killed fit continues in a new process where it was; `resume_case` is what is killed."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import PolynomialDecay, PruningScheduleCallback, compat
from segopt_callbacks.compat import keras
from segopt_callbacks.fit.steps import resumed_step
from tests import warm
from tests.conformance import IMAGES, LABELS, Segmenter, built, compiled, fit, functional, kernels
from tests.fit import resume_case

MIDDLE, BEHIND_AN_EPOCH, BEHIND_THE_SCHEDULE = 6, 8, 15


def start(*arguments):
    return warm.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.fit.resume_case", *map(str, arguments)],
        cwd=pathlib.Path(__file__).parents[2],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process, returncode):
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == returncode, output + errors[-4000:]
    return output


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """What became of fits that were killed behind these steps."""
    folder = tmp_path_factory.mktemp("killed")
    for process in [start("kill", folder, step) for step in (MIDDLE, BEHIND_AN_EPOCH, BEHIND_THE_SCHEDULE)]:
        end(process, -9)
    return json.loads(end(start("resume", folder), 0).splitlines()[-1])


@pytest.mark.slow
def test_masks_weights_and_schedule_are_those_before_the_kill(resumed):
    steps = {(case["way"], case["killed_behind"]): case["step"] for case in resumed["cases"]}
    at_the_epoch = {way: {BEHIND_THE_SCHEDULE: 12} for way in resume_case.WAYS[2:5]}
    at_the_epoch["backup_epoch"] = {MIDDLE: 4, BEHIND_AN_EPOCH: 8, BEHIND_THE_SCHEDULE: 12}
    inside = {"backup_batches": {MIDDLE: 6, BEHIND_AN_EPOCH: 6, BEHIND_THE_SCHEDULE: 15}}
    inside["middle.keras"] = {BEHIND_THE_SCHEDULE: 15}
    expected = {(way, k): step for way, at in {**at_the_epoch, **inside}.items() for k, step in at.items()}
    assert steps == expected
    assert all(case["same_masks"] and case["same_weights"] for case in resumed["cases"])
    assert min(resumed["kept_zeros"]) == 0 < max(resumed["kept_zeros"])  # what a mask could be mistaken for


@pytest.mark.slow
def test_it_ends_as_if_nothing_had_happened(resumed):
    for case in resumed["cases"]:
        if case["way"] not in ("backup_batches", "middle.keras"):
            assert case["same_end"], case
        assert case["zeros"], case
        assert case["pruned"] == resumed["pruned"], case


@pytest.mark.slow
def test_from_inside_an_epoch_keras_itself_does_not_end_so(resumed):
    """Its data begin anew: Keras 3 starts the epoch again, Keras 2 takes the first batches for the rest of it."""
    assert not resumed["plain"]
    assert not any(case["same_end"] for case in resumed["cases"] if case["way"] == "backup_batches")


@pytest.mark.parametrize(
    ("epoch", "steps", "updates", "before", "step"),
    [
        (0, 10, 0, 0, 0),
        (0, 10, 40, 40, 0),  # trained before: a new run
        (0, None, 40, 40, 0),
        (2, 10, 20, 0, 20),  # BackupAndRestore
        (2, 10, 23, 0, 23),  # from inside an epoch
        (0, 10, 3, 0, 3),
        (2, None, 23, 0, 23),
        (2, 10, 60, 40, 20),  # on top of a model that was loaded
        (2, 10, 18, 0, 20),  # two updates were skipped for a loss that overflowed
        (2, 10, 20, 27, 20),  # in the process that was interrupted
        (0, 10, 5, 7, 5),
        (2, 10, 20, 20, 20),  # load_model and initial_epoch
        (2, 10, 23, 23, 23),
        (2, None, 23, 23, 23),
        (2, 10, 520, 520, 20),  # of a model that was trained before the run
        (2, 10, 0, 0, 20),  # weights without their optimizer
    ],
)
def test_resumed_step(epoch, steps, updates, before, step):
    assert resumed_step(epoch, steps, updates=updates, updates_before_fit=before) == step


def rising():
    return PolynomialDecay(0.1, 0.7, begin_step=0, end_step=12, frequency=1)


class AtFirstBatch(keras.callbacks.Callback):
    def __init__(self, pruning):
        super().__init__()
        self.pruning, self.step, self.masks = pruning, None, None

    def on_train_batch_begin(self, batch, logs=None):
        if self.step is None:
            self.step, self.masks = self.pruning.lifecycle.step, list(self.pruning.lifecycle.told.masks.values())


def generate(epochs):
    for _ in range(epochs):
        yield from ((IMAGES[start : start + 8], LABELS[start : start + 8]) for start in range(0, 32, 8))


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.filterwarnings("ignore:The schedule does not reach:UserWarning")
def test_a_generator_of_unknown_length_continues_by_the_optimizers_count(tmp_path):
    model = compiled(functional())
    fit(model, PruningScheduleCallback(rising()), epochs=2)
    model.save(tmp_path / "saved.keras")
    loaded = keras.models.load_model(tmp_path / "saved.keras")
    seen = AtFirstBatch(pruning := PruningScheduleCallback(rising()))
    loaded.fit(generate(1), initial_epoch=2, epochs=3, shuffle=False, verbose=0, callbacks=[pruning, seen])
    assert seen.step == 8
    assert all((mask == (kernel != 0)).all() for mask, kernel in zip(seen.masks, kernels(model).values(), strict=True))


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_a_place_that_nobody_knows_is_told():
    model = compiled(built(Segmenter)())
    with pytest.warns(UserWarning, match="pass `steps_per_epoch`.*initial_epoch=2"):
        model.fit(
            generate(1), initial_epoch=2, epochs=3, shuffle=False, verbose=0, callbacks=[PruningScheduleCallback(0.5)]
        )


@pytest.mark.skipif(os.environ.get("TF_USE_LEGACY_KERAS") != "1", reason="Keras 3 restores built models only")
@pytest.mark.filterwarnings("ignore:The schedule does not reach:UserWarning")
def test_a_checkpoint_is_restored_into_a_model_that_is_not_built(tmp_path):
    """Its weights arrive when they are made, before the first step; masks are read behind that."""
    model = compiled(Segmenter())
    fit(model, PruningScheduleCallback(rising()), epochs=2)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(tmp_path / "checkpoint"))
    unbuilt = compiled(Segmenter())
    tf.train.Checkpoint(model=unbuilt, optimizer=unbuilt.optimizer).read(path)
    seen = AtFirstBatch(pruning := PruningScheduleCallback(rising()))

    class AfterFirst(keras.callbacks.Callback):
        masks = None

        def on_train_batch_end(self, batch, logs=None):
            self.masks = self.masks or list(pruning.lifecycle.told.masks.values())

    fit(unbuilt, after := AfterFirst(), pruning, seen, initial_epoch=2, epochs=4)
    assert seen.step == 8
    assert all((mask == (kernel != 0)).all() for mask, kernel in zip(after.masks, kernels(model).values(), strict=True))


def test_zeros_that_are_kept_are_not_taken_for_pruned_ones():
    model = compiled(functional())
    first, second = PruningScheduleCallback(0.2), PruningScheduleCallback(0.2)
    fit(model, first, epochs=1)
    masks = list(first.lifecycle.told.masks.values())
    for weight in (weight for weight in model.trainable_weights if len(weight.shape) > 1):
        values = np.array(compat.read(weight))
        values[(values != 0) & (np.arange(values.size).reshape(values.shape) % 2 == 0)] = 0.0
        compat.assign(weight, values)
    seen = AtFirstBatch(second)
    fit(model, second, seen, initial_epoch=1)
    for mask, before in zip(seen.masks, masks, strict=True):
        np.testing.assert_array_equal(mask, before)


def test_zeros_of_an_earlier_fit_train_on_where_the_schedule_begins_later():
    model = compiled(functional())
    fit(model, PruningScheduleCallback(0.8))
    seen = AtFirstBatch(
        pruning := PruningScheduleCallback(PolynomialDecay(0.1, 0.7, begin_step=4, end_step=6, frequency=1))
    )
    fit(model, pruning, seen)
    assert all(mask.all() for mask in seen.masks)
    assert not any(
        np.signbit(kernel[kernel == 0]).sum() > round(0.7 * kernel.size) for kernel in kernels(model).values()
    )


@pytest.mark.skipif(os.environ.get("TF_USE_LEGACY_KERAS") == "1", reason="Keras 3 only")
@pytest.mark.filterwarnings("ignore:The schedule does not reach:UserWarning")
def test_batches_that_accumulate_gradients_count_each(tmp_path):
    def accumulating():
        return compiled(functional(), optimizer=keras.optimizers.Adam(1e-2, gradient_accumulation_steps=2))

    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"), save_freq=3, delete_checkpoint=False)
    model = accumulating()
    fit(model, PruningScheduleCallback(rising()), backup, epochs=1)
    seen = AtFirstBatch(pruning := PruningScheduleCallback(rising()))
    fit(
        accumulating(), pruning, keras.callbacks.BackupAndRestore(str(tmp_path / "backup"), save_freq=3), seen, epochs=1
    )
    assert seen.step == 3
