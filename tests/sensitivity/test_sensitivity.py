"""Sensitivity of each weight, against the same done by hand: NumPy on one kernel, then `model.evaluate`."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    SensitivityCallback,
    cluster_model,
    compat,
    export_model,
    layer_sensitivity,
)
from segopt_callbacks.compat import keras
from segopt_callbacks.model.weights import select_weights
from segopt_callbacks.records import Sensitivity, Treated, choose_monitor
from tests.conformance import IMAGES, LABELS, Outer, built, compiled, fit, functional

DATA = IMAGES[:12], LABELS[:12]


def rounded(kernel, bits, channel_axes):
    """A kernel as LiteRT stores it: symmetric integers, a scale for each output channel."""
    others = tuple(axis for axis in range(kernel.ndim) if axis - kernel.ndim not in channel_axes)
    scale = np.abs(kernel).max(axis=others, keepdims=True) / np.float32(2 ** (bits - 1) - 1)
    return np.rint(kernel / scale) * scale


def pruned(kernel, sparsity):
    smallest = np.argsort(np.abs(kernel), axis=None)[: round(sparsity * kernel.size)]
    flat = kernel.ravel().copy()
    flat[smallest] = 0
    return flat.reshape(kernel.shape)


def evaluated_with(model, weight, value):
    before = weight.numpy()
    weight.assign(value)
    metrics = model.evaluate(*DATA, verbose=0, return_dict=True)
    weight.assign(before)
    return metrics


def all_bytes(model):
    return [np.asarray(weight).tobytes() for weight in model.weights]


def test_rows_are_what_one_gets_by_hand():
    model = compiled(built(Outer)())
    before = all_bytes(model)
    sensitivity = layer_sensitivity(model, DATA, treatments=("int8", "int4", "prune"), sparsity=0.75)
    assert all_bytes(model) == before
    assert (sensitivity.monitor, sensitivity.higher_is_better, sensitivity.examples) == ("accuracy", True, 12)
    weights = select_weights(model)
    assert [(row.path, row.treatment) for row in sensitivity.rows] == [
        (path, treatment) for path in weights for treatment in ("int8", "int4", "prune")
    ]
    assert sensitivity.untreated == pytest.approx(model.evaluate(*DATA, verbose=0, return_dict=True))
    for row in sensitivity.rows:
        kernel = weights[row.path].numpy()
        axes = (-2, -1) if "depthwise" in row.path else (-1,)
        bits = {"int8": 8, "int4": 4}
        by_hand = pruned(kernel, 0.75) if row.treatment == "prune" else rounded(kernel, bits[row.treatment], axes)
        expected = evaluated_with(model, weights[row.path], by_hand)
        assert row.metrics == pytest.approx(expected, rel=1e-5), row
        assert row.change == row.metrics["accuracy"] - sensitivity.untreated["accuracy"]
        assert row.elements == kernel.size
    losses = [row.metrics["loss"] for row in sensitivity.rows if row.treatment == "prune"]
    assert len({round(loss, 5) for loss in losses}) == len(losses)  # each weight was treated alone


def test_channels_of_a_transposed_kernel_and_values_that_are_shared():
    inputs = keras.Input((4, 4, 2))
    layer = keras.layers.Conv2DTranspose(3, 2, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    model.compile("sgd", "mse")
    random = np.random.default_rng(0)
    kernel = (random.choice([-1.0, 2.0], (2, 2, 3, 2)) + random.normal(0, 0.1, (2, 2, 3, 2))).astype("float32")
    layer.kernel.assign(kernel)
    x = random.normal(size=(8, 4, 4, 2)).astype("float32")
    y = model.predict(x, verbose=0)
    treatments = "int4", "cluster"
    rows = layer_sensitivity(model, (x, y), treatments=treatments, number_of_clusters=2).rows
    means = np.where(kernel > 0.5, kernel[kernel > 0.5].mean(), kernel[kernel < 0.5].mean())
    for row, by_hand in zip(rows, (rounded(kernel, 4, (-2,)), means), strict=True):
        layer.kernel.assign(by_hand)
        assert row.change == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-3)
        assert row.change > 1e-4


class Failing(keras.metrics.Metric):
    """Counts updates, and raises at one of them."""

    def __init__(self, at, error):
        super().__init__(name="accuracy")
        self.left, self.error = at, error

    def update_state(self, *arguments, **options):
        self.left -= 1
        if self.left == 0:
            raise self.error

    def result(self):
        return tf.constant(1.0)


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=["error", "ctrl_c"])
def test_weights_are_put_back_whatever_happens(error):
    model = functional()
    before = all_bytes(model)
    with pytest.raises(type(error)):
        layer_sensitivity(model, DATA, metrics={"accuracy": Failing(4, error)}, treatments=["prune"], batch_size=6)
    assert all_bytes(model) == before


@pytest.mark.parametrize("metrics", [None, {"iou": "accuracy"}], ids=["compiled", "passed"])
def test_functions_are_traced_once_for_all_weights(metrics):
    traces = []

    class Counting(Outer):
        def call(self, inputs, training=None):
            traces.append(1)
            return super().call(inputs, training=training)

    model = compiled(Counting())
    model(IMAGES[:1])
    traces.clear()
    if metrics:
        metrics = {"iou": keras.metrics.SparseCategoricalAccuracy()}
    sensitivity = layer_sensitivity(model, DATA, metrics=metrics, treatments=("prune", "cluster"), batch_size=8)
    assert len(sensitivity.rows) == 2 * len(select_weights(model)) >= 12
    assert len(traces) <= 4  # two sizes of batches
    if metrics:
        by_keras = model.evaluate(*DATA, verbose=0, return_dict=True)
        assert sensitivity.untreated == {"iou": pytest.approx(by_keras["accuracy"])}


def test_examples_can_be_limited_and_metrics_without_a_value_are_losses():
    model = compiled(functional())
    batches = tf.data.Dataset.from_tensor_slices(DATA).batch(5)
    arguments = {"treatments": ["prune"], "monitor": "loss"}
    limited = layer_sensitivity(model, batches, max_examples=7, **arguments)
    arrays = layer_sensitivity(model, (IMAGES[:7], LABELS[:7]), **arguments)
    assert limited.examples == arrays.examples == 7
    assert [row.change for row in limited.rows] == pytest.approx([row.change for row in arrays.rows], abs=1e-6)
    rows = tuple(Treated(path, 4, "int8", {"iou": value}, value - 0.5) for path, value in [("a", math.nan), ("b", 0.4)])
    some = Sensitivity("iou", True, {"iou": 0.5}, rows, 1, 0.8, 8)
    assert some.spare("int8", 0.2) == ["^b$"]
    assert [one["change"]["int8"] for one in some.entry()["weights"]] == [None, pytest.approx(-0.1)]
    assert "no value" in some.table()


def test_a_fit_measures_the_finished_weights_and_the_export_tells(tmp_path, capsys):
    model = compiled(Outer())
    export = ExportQuantizedCallback(tmp_path / "exported", ("float32",), evaluation_data=DATA, verbose=0)
    sensing = SensitivityCallback(
        DATA, monitor="loss", treatments=("prune", "cluster"), number_of_clusters=6, log_dir=tmp_path / "logs"
    )
    clustering = ClusterOnTrainEndCallback(6, fold_batch_norm=False)
    fit(model, export, sensing, clustering, PruningScheduleCallback(0.4), validation_data=DATA)
    sensitivity = sensing.sensitivity
    assert sensitivity.untreated == pytest.approx(model.evaluate(*DATA, verbose=0, return_dict=True))
    assert set(sensitivity.losses("cluster").values()) == {0.0}  # they have no more values than that
    assert any(sensitivity.losses("prune").values())
    assert sensitivity.table() in capsys.readouterr().out
    assert export.report["sensitivity"] == sensitivity.entry()
    change = sensitivity.table().splitlines()[2].split()[2]
    for name, cell in (("report.md", f"| {change} |"), ("report.html", f"<td>{re.escape(change)}<span")):
        content = (tmp_path / "exported" / name).read_text()
        assert ">Sensitivity</h2>" in content or "## Sensitivity\n" in content
        assert re.search(cell if name == "report.html" else re.escape(cell), content)
    events = EventAccumulator(str(tmp_path / "logs" / "sensitivity"), size_guidance={TENSORS: 0})
    events.Reload()
    (text,) = tf.make_ndarray(events.Tensors("sensitivity/table")[0].tensor_proto).ravel()
    assert change in text.decode()
    assert events.Tensors("sensitivity/losses")[0].step == compat.iterations(model)

    losses = sensitivity.losses("prune")
    tolerance = max(losses.values()) / 2
    spared = {path for path, loss in losses.items() if loss > tolerance}
    kept = sensitivity.spare("prune", tolerance)
    assert set(cluster_model(model, 2, kept)) == losses.keys() - spared != losses.keys()


def test_the_report_of_a_trained_model_takes_it(tmp_path):
    model = compiled(functional())
    with pytest.raises(ValueError, match="what `layer_sensitivity` returns. Received: dict"):
        export_model(model, tmp_path, ("float32",), sensitivity={}, verbose=0)


def test_mixed_precision():
    model = compiled(built(lambda: Outer(dtype="mixed_float16"))())
    before = all_bytes(model)
    sensitivity = layer_sensitivity(model, DATA, monitor="loss", treatments=("int4", "prune"))
    assert all_bytes(model) == before
    assert any(loss != 0 for loss in sensitivity.losses("int4").values())


ACCURACY = keras.metrics.SparseCategoricalAccuracy()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"treatments": ["int2"]}, "`treatments` must be different names out of int8, int4, prune, cluster"),
        ({"treatments": []}, "`treatments` must be"),
        (
            {"sparsity": 80},
            r"`sparsity` must be a fraction of zeros, in \(0, 1\). Did you mean 0.8\? Received: sparsity=80",
        ),
        ({"number_of_clusters": 1}, "`number_of_clusters` must be a whole number, at least 2"),
        ({"max_examples": 0}, "`max_examples` must be a whole number"),
        ({"filters": "("}, "regular expressions"),
        ({"metrics": {}}, "`metrics` must name at least one metric"),
        ({"metrics": {"a": ACCURACY, "b": ACCURACY}}, "`monitor` must say by which metric .* Received: .* a, b"),
        ({"metrics": {"quality": ACCURACY}}, "`higher_is_better` must be given .* monitor='quality'"),
        ({"metrics": {"iou": ACCURACY}, "monitor": "miou"}, "`monitor` must be the name of a metric .*: iou."),
        ({"evaluation_data": None}, "`evaluation_data` must hold targets"),
        ({"evaluation_data": (IMAGES, None)}, "`evaluation_data` must hold targets"),
        ({"evaluation_data": tf.data.Dataset.from_tensors(DATA), "batch_size": 4}, "a dataset has batches of its own"),
    ],
)
def test_wrong_arguments_are_refused_before_training(arguments, message):
    arguments = {"evaluation_data": DATA, **arguments}
    data = arguments.pop("evaluation_data")
    with pytest.raises(ValueError, match=message):
        SensitivityCallback(data, **arguments)
    with pytest.raises(ValueError, match=message):
        layer_sensitivity(compiled(functional()), data, **arguments)


def test_models_that_cannot_be_measured():
    with pytest.raises(ValueError, match="must be compiled .* pass `metrics`"):
        layer_sensitivity(functional(), DATA)
    with pytest.raises(ValueError, match="must be built"):
        layer_sensitivity(compiled(Outer()), DATA)
    model = compiled(functional())
    weight = next(iter(select_weights(model).values()))
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(ValueError, match="finite"):
        layer_sensitivity(model, DATA, monitor="accuracy", higher_is_better=True)
    empty = tf.data.Dataset.from_tensor_slices(DATA).batch(4).take(0)
    with pytest.raises(ValueError, match="at least one example"):
        layer_sensitivity(model, empty)


def test_a_metric_that_is_not_clear_ends_the_fit_at_its_first_validation():
    model = compiled(functional(), metrics=["accuracy", keras.metrics.MeanIoU(3, sparse_y_pred=False, name="iou")])
    seen = []
    counting = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    with pytest.raises(ValueError, match="pass its name. Received: monitor=None, and .*accuracy"):
        fit(model, SensitivityCallback(DATA, verbose=0), counting, validation_data=DATA)
    assert not seen
    assert choose_monitor(["loss", "accuracy", "iou"], "loss", None) == ("loss", False)
    assert choose_monitor(["dice_loss"], None, None) == ("dice_loss", False)
    with pytest.raises(ValueError, match="name does not tell"):
        choose_monitor(["accuracy_error"], None, None)
    with pytest.raises(ValueError, match="`log_dir` must be the path of a folder"):
        SensitivityCallback(DATA, log_dir=3)


def test_two_that_measure_in_one_fit_are_told_that_reports_show_one():
    model = compiled(functional())
    sensing = [SensitivityCallback(DATA, monitor="loss", treatments=[name], verbose=0) for name in ("int4", "prune")]
    with pytest.warns(UserWarning, match="the last of the list"):
        fit(model, *sensing, epochs=1)
    assert [one.sensitivity.treatments for one in sensing] == [("int4",), ("prune",)]


def test_what_spare_refuses():
    row = Treated("a/kernel", 4, "int8", {"loss": 1.5}, 0.5)
    sensitivity = Sensitivity("loss", False, {"loss": 1.0}, (row,), 1, 0.8, 8)
    assert sensitivity.spare("int8", 0.5) == ["^a/kernel$"]
    for arguments, message in (
        (("int8", 0.4), "raise it above 0.5"),
        (("int8", -1), "at least 0. Received: tolerance=-1"),
        (("prune", 1.0), "one that was measured: int8"),
    ):
        with pytest.raises(ValueError, match=message):
            sensitivity.spare(*arguments)
