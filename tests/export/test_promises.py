"""What every row of a report's table counts, and what is said where a file has more distinct values than the model."""

import numpy as np
import pytest

from segopt_callbacks import cluster_model, compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.export.promises import broken, counted
from tests.export_models import pruned

FORMATS = ["saved_model", "float32", "dynamic_int8", "onnx"]


def row(name, elements=100, distinct=16, zeros=0, weight=None):
    return {"name": name, "weight": weight, "elements": elements, "distinct": distinct, "zeros": zeros}


class Scaled(keras.layers.Layer):
    """LayerScale: a factor for each channel."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), name="factor", initializer="ones")

    def call(self, inputs):
        return inputs * self.factor


def words():
    """Tables that are looked up, kernels of a recurrent layer, and its biases of two axes."""
    inputs = keras.Input((5,), dtype="int32")
    hidden = keras.layers.GRU(8)(keras.layers.Embedding(12, 4)(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(hidden)), np.arange(20).reshape(4, 5).astype("int32") % 12


def attention():
    inputs = keras.Input((4, 6))
    hidden = keras.layers.MultiHeadAttention(2, 8)(inputs, inputs)
    return keras.Model(inputs, keras.layers.Dense(3)(hidden)), np.ones((4, 4, 6), "float32")


@pytest.mark.parametrize(("make", "elements"), [(words, 4 * 24 + 8 * 24 + 8 * 3), (attention, 4 * 6 * 16 + 6 * 3)])
def test_every_row_of_the_table_counts_the_same_elements(tmp_path, make, elements):
    pytest.importorskip("tf2onnx")
    model, x = make()
    pruned(model, 0.5)
    data = (x, np.zeros((len(x), 1)))
    report = export_model(
        model, tmp_path, FORMATS, evaluation_data=data, latency=False, verbose=0, remove_channels=False
    )
    rows = {"model": report["model"], **report["formats"]}
    if make is attention and compat.is_keras_2(model):  # tf2onnx merges the last product of it with another
        assert "attention_output/kernel" in rows.pop("onnx")["warnings"][0]
    assert {name: (one["elements"], one["zeros"]) for name, one in rows.items()} == dict.fromkeys(rows, (elements, 0.5))


def test_a_weight_that_is_not_found_is_named():
    kernels = [row("a", 10, weight="a"), row("b", 20, weight="b"), row("c", 30, weight="c")]
    in_file = [row("a", 10, weight="a"), row("scaled", 20), row("table", 99, weight="table")]
    rows, told = counted(in_file, kernels, ["a", "b", "c"])
    assert [one["name"] for one in rows] == ["a", "scaled"]
    assert told == ["figures of its weights leave out what is not found in it: c"]


def test_what_shares_no_values_in_the_model_has_no_promise_to_keep():
    model = [row("few", 10, 9, weight="few"), row("many", 1000, 900, weight="many")]
    assert broken([row("few", 10, 10, weight="few"), row("many", 1000, 999, weight="many")], model) == []


def test_a_kernel_that_the_converter_scales_is_named_in_the_report(tmp_path):
    inputs = keras.Input((16, 16))
    model = keras.Model(inputs, Scaled()(keras.layers.Dense(32, name="wide")(inputs)))
    compat.assign(model.weights[-1], np.random.default_rng(0).uniform(0.5, 2, 32))
    cluster_model(model, 8)
    x = np.random.default_rng(1).normal(size=(4, 16, 16)).astype("float32")
    report = export_model(model, tmp_path, ["float32", "int8"], evaluation_data=(x, x), latency=False, verbose=0)
    (warning,) = report["formats"]["float32"]["warnings"]
    (only,) = report["formats"]["float32"]["weights"]
    assert f"wide/kernel ({only['distinct']} for 8)" in warning
    assert f"`float32`: {warning}" in (tmp_path / "report.md").read_text()
    assert report["formats"]["int8"]["weights"][0]["distinct"] <= 8
    assert "warnings" not in report["formats"]["int8"]
