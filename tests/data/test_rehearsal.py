"""What will be computed after the fit is tried before its first step."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import (
    ExportQuantizedCallback,
    ReestimateBatchNormCallback,
    SensitivityCallback,
    compat,
    reestimate_batch_norm,
)
from segopt_callbacks.compat import keras
from segopt_callbacks.data import rehearse
from tests.conformance import IMAGES, LABELS, Segmenter, Watch, built, compiled, fit, functional

NAN = np.where(np.arange(IMAGES.size).reshape(IMAGES.shape) == 7, np.nan, IMAGES).astype("float32")
DATA = (IMAGES, LABELS)


def export(path, **options):
    return ExportQuantizedCallback(path, ("saved_model",), latency=False, verbose=0, **options)


WRONG = {
    "mean_iou": (
        lambda path: export(path, evaluation_data=DATA, metrics={"miou": keras.metrics.MeanIoU(3)}),
        "pass sparse_y_pred=False",
    ),
    "channels": (lambda path: export(path, evaluation_data=(IMAGES[..., :1], LABELS)), "number of channels"),
    "unbatched": (lambda path: export(path, evaluation_data=tf.data.Dataset.from_tensor_slices(DATA)), "in batches"),
    "nan": (lambda path: export(path, evaluation_data=(NAN, LABELS)), "must be finite.*1 values NaN"),
    "targets": (
        lambda path: SensitivityCallback((IMAGES, LABELS[:, :2]), treatments=["prune"], verbose=0),
        "own loss and metrics",
    ),
    "statistics": (lambda path: ReestimateBatchNormCallback(IMAGES[..., :2]), "`data` must be what the model takes"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("make", [Segmenter, built(Segmenter)], ids=["unbuilt", "built"])
def test_data_and_metrics_that_do_not_fit_are_refused_before_the_first_step(what, make, tmp_path):
    make_callback, message = WRONG[what]
    model, watch = compiled(make()), Watch()
    with pytest.raises(ValueError, match=message):
        fit(model, watch, make_callback(tmp_path / "exported"))
    assert not watch.seen


def test_a_trial_leaves_model_and_metric_as_they_were():
    layers = [keras.layers.LSTM(4, stateful=True), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    inputs = keras.Input(batch_shape=(4, 3, 2))
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    model, metric = keras.Model(inputs, outputs), keras.metrics.MeanSquaredError()
    metric.update_state([1.0], [3.0])
    data = np.ones((4, 3, 2), "float32"), np.ones((4, 2), "float32")
    model(data[0])
    before = [compat.read(one) for one in model.variables]
    assert any(value.any() for value in before[3:5])  # it has a state
    rehearse(model, data, {"mse": metric})
    assert all(np.array_equal(compat.read(one), value) for one, value in zip(model.variables, before, strict=True))
    assert float(metric.result()) == 4.0


def test_evaluation_data_of_another_scale_or_dtype_than_the_training_inputs_are_said(tmp_path):
    scaled = export(tmp_path / "scaled", evaluation_data=(IMAGES * 255 / np.abs(IMAGES).max(), LABELS))
    fit(compiled(Segmenter()), scaled, epochs=1)
    assert "evaluation data must be scaled as training inputs are" in scaled.report["warnings"][0]
    cast = export(tmp_path / "cast", evaluation_data=(IMAGES.astype("int32"), LABELS))
    fit(compiled(functional()), cast, epochs=1)  # takes integers as floats
    assert "evaluation data must have the dtype of the training inputs" in cast.report["warnings"][0]
    alike = export(tmp_path / "alike", evaluation_data=DATA)
    fit(compiled(Segmenter()), alike, epochs=1)
    assert "warnings" not in alike.report


def test_nan_in_a_later_batch_does_not_blame_the_model(tmp_path):
    late = IMAGES.copy()
    late[-1] = np.nan
    callback = export(
        tmp_path / "exported", evaluation_data=tf.data.Dataset.from_tensor_slices((late, LABELS)).batch(4)
    )
    with pytest.raises(RuntimeError, match="`evaluation_data` must be finite") as caught:
        fit(compiled(Segmenter()), callback, epochs=1)
    assert "train it to finite weights" not in str(caught.value)


@pytest.mark.either_keras
def test_one_model_after_another_is_no_retracing(caplog):
    """TensorFlow counts by the code, and would warn of the fifth fit in a loop."""
    logger, data = tf.get_logger(), np.ones((4, 4), "float32")
    logger.propagate, propagates = True, logger.propagate
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    for _ in range(5):
        rehearse(model, data)
        reestimate_batch_norm(model, data)
    logger.propagate = propagates
    assert "retracing" not in caplog.text
