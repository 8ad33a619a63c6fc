"""Files are judged by the compiled metrics where none are given."""

import numpy as np
import pytest

from segopt_callbacks import export_model
from segopt_callbacks.compat import keras

IMAGES = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
LABELS = (IMAGES.sum(1) > 0).astype("int64")


def two_headed():
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    heads = {"label": keras.layers.Dense(2, name="label")(hidden), "size": keras.layers.Dense(1, name="size")(hidden)}
    return keras.Model(inputs, heads)


def exported(model, data, folder, **options):
    return export_model(model, folder, "float32", evaluation_data=data, latency=False, verbose=0, **options)


def test_they_are_what_evaluate_tells(tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    heavy = keras.metrics.SparseCategoricalAccuracy("heavy")
    model.compile("sgd", loss, metrics=["accuracy"], weighted_metrics=[heavy])
    model.fit(IMAGES, LABELS, verbose=0)
    data = (IMAGES, LABELS, np.linspace(0.1, 2, 48).astype("float32"))
    before = [np.asarray(one) for metric in model.metrics for one in metric.variables]
    report = exported(model, data, tmp_path)
    for one, other in zip(before, [one for metric in model.metrics for one in metric.variables], strict=True):
        np.testing.assert_array_equal(one, other)  # the state of the fit is as it was
    told = model.evaluate(*data[:2], sample_weight=data[2], verbose=0, return_dict=True)
    expected = {name: pytest.approx(value, abs=1e-6) for name, value in told.items() if name != "loss"}
    assert report["model"]["metrics"] == expected
    assert report["formats"]["float32"]["metrics"] == expected
    assert "accuracy" in (tmp_path / "report.md").read_text()


def test_those_of_several_outputs_have_their_names(tmp_path):
    model = two_headed()
    losses = {"label": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "mse"}
    model.compile("sgd", losses, metrics={"label": ["accuracy"], "size": ["mae"]})
    targets = {"label": LABELS, "size": IMAGES[:, :1]}
    model.fit(IMAGES, targets, verbose=0)
    told = model.evaluate(IMAGES, targets, verbose=0, return_dict=True)
    report = exported(model, (IMAGES, targets), tmp_path)
    expected = {name: pytest.approx(told[name], abs=1e-5) for name in ("label_accuracy", "size_mae")}
    assert report["formats"]["float32"]["metrics"] == expected


def test_given_ones_stand_instead_and_without_any_there_are_none(tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    assert exported(model, (IMAGES, LABELS), tmp_path / "plain")["formats"]["float32"]["metrics"] == {}
    model.compile("sgd", "mse", metrics=["mae"])
    given = {"right": keras.metrics.SparseCategoricalAccuracy()}
    report = exported(model, (IMAGES, LABELS), tmp_path / "given", metrics=given)
    assert list(report["formats"]["float32"]["metrics"]) == ["right"]
    assert exported(model, (IMAGES, LABELS), tmp_path / "none", metrics={})["formats"]["float32"]["metrics"] == {}


def test_those_that_do_not_take_the_data_are_left_out_by_name(tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", metrics=[keras.metrics.MeanIoU(2)])  # of logits: it wants classes
    with pytest.warns(UserWarning, match="not judged by the compiled metrics.*pass `metrics`"):
        report = exported(model, (IMAGES, np.tile(LABELS[:, None, None], (1, 5, 7))), tmp_path)
    assert report["formats"]["float32"]["status"] == "ok"
    assert report["formats"]["float32"]["metrics"] == {}
