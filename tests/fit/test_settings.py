"""Callbacks show their settings, and copy and pickle before and after a fit, which they leave behind."""

import copy
import pickle

import numpy as np
import pytest

from segopt_callbacks import (
    AtTargetSparsity,
    ClusterOnTrainEndCallback,
    ClusterScheduleCallback,
    CompressionSummaries,
    DistillationCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    QuantizationAwareTrainingCallback,
    ReestimateBatchNormCallback,
    SensitivityCallback,
    ramp_by_fraction,
)
from segopt_callbacks.compat import keras
from segopt_callbacks.fit import told_callbacks
from tests.conformance import IMAGES, LABELS, Segmenter, compiled, fit, zeros

DATA = (IMAGES, LABELS)
MAKES = {
    "prune": lambda path: PruningScheduleCallback(ramp_by_fraction(0.75, begin=0.0, end=0.5), verbose=0),
    "cluster": lambda path: ClusterOnTrainEndCallback(6, fold_batch_norm=False),
    "cluster_from_a_step": lambda path: ClusterScheduleCallback(6, begin_step=3, fold_batch_norm=False),
    "distill": lambda path: DistillationCallback(threefold, temperature=1.0, weight=0.3),
    "quantize": lambda path: QuantizationAwareTrainingCallback(begin_step=1),
    "normalize": lambda path: ReestimateBatchNormCallback(IMAGES),
    "measure": lambda path: SensitivityCallback(DATA, monitor="loss", treatments=["prune"], verbose=0),
    "export": lambda path: ExportQuantizedCallback(
        path / "exported", ["saved_model"], evaluation_data=DATA, latency=False, verbose=0
    ),
    "summaries": lambda path: CompressionSummaries(path / "logs"),
}


def threefold(images):
    """A teacher that can be pickled."""
    return 3.0 * images


WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda one: pickle.loads(pickle.dumps(one))}


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """Every callback after a fit, by kind; with what it showed before."""
    path = tmp_path_factory.mktemp("used")
    made = {kind: make(path) for kind, make in MAKES.items()}
    shown = {kind: repr(callback) for kind, callback in made.items()}
    fit_all(made)
    return made, shown


def fit_all(callbacks):
    """In one fit, but for one of two that cluster."""
    fit(compiled(Segmenter()), *(one for kind, one in callbacks.items() if kind != "cluster"), epochs=1)
    fit(compiled(Segmenter()), callbacks["cluster"], epochs=1)


@pytest.mark.parametrize("kind", MAKES)
def test_a_copy_has_the_settings_and_nothing_of_the_fit(kind, used):
    callback, shown = used[0][kind], used[1][kind]
    assert shown.startswith(f"{type(callback).__name__}(")
    assert repr(callback) == shown
    for way in WAYS.values():
        made = way(callback)
        assert type(made) is type(callback)
        assert repr(made) == shown
        assert made.model is None
        assert "lifecycle" not in vars(made)
    assert repr(type(callback).from_config(callback.get_config())) == shown


def test_copies_work_in_fits_of_their_own(used):
    copies = {kind: copy.deepcopy(callback) for kind, callback in used[0].items()}
    fit_all(copies)
    assert {kind: repr(callback) for kind, callback in copies.items()} == used[1]
    assert copies["measure"].sensitivity.rows
    assert copies["export"].report["formats"]["saved_model"]["status"] == "ok"
    assert set(copies["quantize"].ranges) == set(used[0]["quantize"].ranges) != set()


def test_a_copy_prunes_as_the_first_did(tmp_path):
    first = [MAKES["prune"](tmp_path), AtTargetSparsity(keras.callbacks.EarlyStopping("loss", patience=9))]
    model, other = compiled(Segmenter()), compiled(Segmenter())
    fit(model, *first)
    fit(other, *copy.deepcopy(first))
    assert list(zeros(model).values()) == list(zeros(other).values()) != [0] * len(zeros(model))


def test_what_a_fit_has_found_goes_along(used):
    callback = used[0]["measure"]
    assert pickle.loads(pickle.dumps(callback)).sensitivity == callback.sensitivity


def test_reports_tell_the_settings_that_matter_and_no_folder():
    prune = PruningScheduleCallback(0.5, scope="global")
    quantize = ExportQuantizedCallback("/home/somebody/files", ["float32"])
    told = told_callbacks([keras.callbacks.History(), keras.callbacks.TerminateOnNaN(), prune, quantize])
    assert told == [
        {"name": "TerminateOnNaN"},
        {"name": "PruningScheduleCallback", "settings": {"schedule": "0.5", "scope": "'global'"}},
        {"name": "ExportQuantizedCallback", "settings": {"formats": "('float32',)"}},
    ]


def test_settings_are_shown_by_name_and_arrays_by_shape():
    assert repr(ReestimateBatchNormCallback(np.zeros((3, 4), "float32"), batches=2)) == (
        "ReestimateBatchNormCallback(data=<(3, 4) float32>, batches=2)"
    )
    config = PruningScheduleCallback(0.5, "kernel", scope="global").get_config()
    assert (config["schedule"], config["filters"]) == (0.5, "kernel")
    assert config["scope"] == "global"
