"""`segopt-export` judges files by what the saved model was compiled with, or by metrics that are named."""

import json

import numpy as np
import pytest

from segopt_callbacks.compat import keras
from segopt_callbacks.export import command

IMAGES = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
LABELS = (IMAGES.sum(1) > 0).astype("int64")
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


class Odd(keras.metrics.SparseCategoricalAccuracy):
    """A metric of somebody's own."""


def saved(path, metrics):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=metrics)
    model.fit(IMAGES, LABELS, verbose=0)
    model.save(path)
    np.savez(path.parent / "data.npz", x=IMAGES, y=LABELS)
    return model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)


def exported(path, *arguments):
    data = ["--data", str(path.parent / "data.npz"), "--formats=float32", "--no_latency"]
    assert command.main([str(path), *data, "--output_dir", str(path.parent / "out"), *arguments]) == 0
    return json.loads((path.parent / "out" / "report.json").read_text())["formats"]["float32"]["metrics"]


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_metrics_of_the_saved_model_are_computed(ending, tmp_path):
    told = saved(tmp_path / f"model.{ending}", ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(1, name="top")])
    expected = {name: pytest.approx(told[name], abs=1e-6) for name in ("accuracy", "top")}
    assert exported(tmp_path / f"model.{ending}") == expected


def test_named_ones_stand_instead(tmp_path):
    told = saved(tmp_path / "model.keras", [keras.metrics.SparseTopKCategoricalAccuracy(1, name="top")])
    assert exported(tmp_path / "model.keras", "--metrics=accuracy") == {"accuracy": pytest.approx(told["top"])}


def test_what_is_not_keras_own_is_left_out_in_a_line(tmp_path, capsys):
    saved(tmp_path / "model.keras", [Odd(name="odd")])
    assert exported(tmp_path / "model.keras") == {}
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the metrics of" in said
    assert "left out; name some by `--metrics`" in said


def test_an_unknown_name_is_an_error_before_any_file(tmp_path, capsys):
    saved(tmp_path / "model.keras", ["accuracy"])
    assert (
        command.main([str(tmp_path / "model.keras"), "--metrics=acuracy", "--output_dir", str(tmp_path / "out")]) == 2
    )
    assert "`--metrics` must name metrics that Keras knows, such as accuracy" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
