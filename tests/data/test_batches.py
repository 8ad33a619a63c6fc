"""Evaluation data are whatever `fit` takes as `validation_data`: the same figures, in whatever form they come."""

import copy
import pickle

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import export_model, layer_sensitivity
from segopt_callbacks.compat import keras
from segopt_callbacks.data import batches as batches_module
from segopt_callbacks.data.batches import Batches
from segopt_callbacks.data.forms import as_evaluation_data, evaluation_batches
from segopt_callbacks.export.checks.fingerprint import Fingerprint
from tests.conformance import IMAGES, LABELS, compiled, functional

Base = getattr(keras.utils, "PyDataset", None) or keras.utils.Sequence
WEIGHTS = np.linspace(0, 1, LABELS.size).reshape(LABELS.shape).astype("float32")
COUNT = len(IMAGES)


class Pictures(Base):
    """Batches of 6, the last one smaller."""

    def __len__(self):
        return -(-COUNT // 6)

    def __getitem__(self, index):
        part = slice(6 * index, 6 * index + 6)
        return IMAGES[part], LABELS[part], WEIGHTS[part]


class Loader:
    """As a loader of another framework: to be iterated anew, without items."""

    def __iter__(self):
        return (Pictures()[index] for index in range(len(Pictures())))


def arrays():
    return IMAGES, LABELS, WEIGHTS


FORMS = {
    "arrays": arrays,
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(arrays()).batch(6),
    "sequence": Pictures,
    "generator": lambda: iter(Loader()),
    "loader": Loader,
}


def fingerprint(images, labels):
    """Of all examples at once, whatever the batches were."""
    whole = {"inputs": Fingerprint(), "targets": Fingerprint()}
    whole["inputs"].add([images])
    whole["targets"].add([labels])
    return {name: str(one) for name, one in whole.items()}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_metrics_that_keras_gives_for_arrays(form, tmp_path):
    model = compiled(functional(), weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="weighted")])
    expected = model.evaluate(IMAGES, LABELS, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    measured = layer_sensitivity(model, FORMS[form](), monitor="loss", treatments=["prune"], verbose=0)
    assert measured.untreated == {name: pytest.approx(value, rel=1e-4) for name, value in expected.items()}
    assert measured.examples == COUNT
    metrics = {"weighted": keras.metrics.SparseCategoricalAccuracy()}
    options = {"evaluation_data": FORMS[form](), "metrics": metrics, "latency": False, "verbose": 0}
    report = export_model(model, tmp_path, ["saved_model"], **options)
    assert report["formats"]["saved_model"]["metrics"]["weighted"] == pytest.approx(expected["weighted"], abs=1e-3)
    assert report["verification"] == {
        "examples": COUNT,
        "data": "evaluation data",
        "fingerprint": fingerprint(IMAGES, LABELS),
    }


@pytest.mark.parametrize(
    "data", [IMAGES, (IMAGES,), (IMAGES, None), tf.data.Dataset.from_tensor_slices(IMAGES).batch(5)], ids=str
)
def test_without_targets_there_are_inputs_alone(data):
    read = list(evaluation_batches(data))
    assert np.array_equal(np.concatenate([x for x, _, _ in read]), IMAGES)
    assert all(y is None and weight is None for _, y, weight in read)


def test_a_generator_that_does_not_end_is_refused(monkeypatch):
    monkeypatch.setattr(batches_module, "HELD_BYTES", 10 * IMAGES.nbytes)

    def endless():
        while True:
            yield IMAGES, LABELS

    with pytest.raises(ValueError, match="must end; a generator is held in memory"):
        as_evaluation_data(endless()).hold()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((IMAGES, LABELS[:-1]), f"Received: x of {COUNT}, y of {COUNT - 1} examples"),
        ((IMAGES, LABELS, WEIGHTS, LABELS), "Received: tuple of 4"),
        (3, "Received: int"),
        (tf.data.Dataset.from_tensor_slices(IMAGES).batch(2).repeat(), "repeats forever"),
    ],
    ids=["unequal", "four", "number", "endless"],
)
def test_what_fit_does_not_take_is_refused_at_once(data, message):
    with pytest.raises(ValueError, match=message):
        as_evaluation_data(data)


def test_batches_copy_where_they_can_be_read_again():
    again = pickle.loads(pickle.dumps(Batches(Loader())))
    assert len(list(again)) == len(list(copy.deepcopy(Batches(Loader())))) == len(Pictures())
    with pytest.raises(TypeError, match="can be read once"):
        pickle.dumps(Batches(iter(Loader())))
