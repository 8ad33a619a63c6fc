import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import jaccard_score

from segopt_callbacks import export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.data.feed import Feed, cast_inputs
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.checks.agreement import Agreement, OutputAgreement
from segopt_callbacks.export.checks.verify import verify
from tests.export_models import CLASSES, DATA, IMAGES, LABELS, answers, built


def feed(model, data=DATA):
    """The data in batches of 4, the last of 2."""
    return Feed(model, tf.data.Dataset.from_tensor_slices(data).batch(4), None)


def miou(**kwargs):
    return keras.metrics.MeanIoU(CLASSES, sparse_y_true=True, sparse_y_pred=False, **kwargs)


def serving(outputs):
    """Runs a file that gives these outputs for `IMAGES`, in whatever batches they come."""

    def run(inputs):
        return [outputs[[int(np.flatnonzero((one == IMAGES).all((1, 2, 3)))[0]) for one in inputs[0]]]]

    return run


def test_differences_over_batches_are_those_over_everything():
    model = built()
    expected = answers(model)
    noise = np.random.default_rng(0).normal(size=expected.shape).astype("float32")
    outcome = verify(model, feed(model), {"file": serving(expected + noise)})
    result = outcome.results["file"]
    assert outcome.examples == 10
    assert result["largest_difference"] == pytest.approx(np.abs(noise).max(), rel=1e-4)
    assert result["mean_difference"] == pytest.approx(np.abs(noise).mean(), rel=1e-4)
    assert result["equal_argmax"] == ((expected + noise).argmax(-1) == expected.argmax(-1)).mean()


def test_metrics_are_computed_on_each_artifacts_own_answers():
    """scikit-learn's score of the same answers is the reference."""
    model = built()
    wrong = np.random.default_rng(0).normal(size=(10, 16, 16, CLASSES)).astype("float32")
    metric = miou()
    outcome = verify(model, feed(model), {"file": serving(wrong)}, metrics={"miou": metric})
    for name, logits in (("file", wrong), ("model", answers(model))):
        expected = jaccard_score(LABELS.ravel(), logits.argmax(-1).ravel(), average="macro")
        assert outcome.results[name]["metrics"]["miou"] == pytest.approx(expected, rel=1e-4)


def test_the_users_metric_keeps_its_own_state():
    metric_of_labels = keras.metrics.SparseCategoricalAccuracy()
    metric_of_labels.update_state([0, 1], [[1.0, 0.0], [1.0, 0.0]])
    metric_of_answers = miou()
    model = built()
    verify(model, feed(model), {}, metrics={"miou": metric_of_answers, "kept": metric_of_labels})
    assert float(metric_of_labels.result()) == 0.5
    assert float(metric_of_answers.result()) == 0.0


def test_sample_weights_weigh_the_metrics():
    model = built()
    weights = np.zeros((10, 16, 16), "float32")
    weights[:, :8] = 1
    metrics = {"a": keras.metrics.SparseCategoricalAccuracy()}
    outcome = verify(model, feed(model, (IMAGES, LABELS, weights)), {}, metrics=metrics)
    expected = (answers(model).argmax(-1) == LABELS)[:, :8].mean()
    assert outcome.results["model"]["metrics"]["a"] == pytest.approx(expected, rel=1e-5)


def test_one_file_that_answers_nan_does_not_spoil_the_others():
    model = built()
    runners = {
        "bad": lambda inputs: [np.full((len(inputs[0]), 16, 16, CLASSES), np.nan, "float32")],
        "good": lambda inputs: [answers(model, inputs[0])],
    }
    outcome = verify(model, feed(model), runners)
    assert outcome.causes == {"bad": "it answers NaN where the model in memory is finite"}
    assert outcome.results["good"]["equal_argmax"] == 1.0
    assert outcome.examples == 10


def test_a_file_that_stops_running_is_named():
    def run(inputs):
        raise RuntimeError("Node number 3 failed to invoke")

    model = built()
    outcome = verify(model, feed(model), {"bad": run})
    assert outcome.causes == {"bad": "it does not run: Node number 3 failed to invoke"}


def test_no_example_at_all_is_an_error():
    empty = tf.data.Dataset.from_tensor_slices(DATA).take(0).batch(4)
    model = built()
    with pytest.raises(FormatError, match="no example to run it on"):
        verify(model, Feed(model, empty, None), {})


def test_an_answer_of_another_shape_is_an_error():
    with pytest.raises(FormatError, match=r"it answers in shape \(1, 3\), and the model in \(1, 2\)"):
        OutputAgreement().add(np.zeros((1, 2)), np.zeros((1, 3)))


def test_outputs_of_one_channel_have_no_largest_class():
    figures = {"largest_difference": 1.0, "relative_difference": 1.0, "mean_difference": 1.0, "equal_argmax": None}
    agreement = Agreement([OutputAgreement("mask")])
    agreement.add([np.zeros((2, 4, 4, 1), np.float32)], [np.ones((2, 4, 4, 1), np.float32)])
    assert agreement.result() == {**figures, "outputs": [{"name": "mask", **figures}]}


def test_fractions_do_not_go_into_a_signature_of_integers():
    with pytest.raises(FormatError, match="pass uint8"):
        cast_inputs(np.full((1, 16, 16, 3), 0.5), tf.TensorSpec((1, 16, 16, 3), tf.uint8))


def test_a_last_partial_batch_is_run_too(tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices(DATA).batch(4)
    metrics = {"miou": miou()}
    report = export_model(
        built(), tmp_path, ["saved_model", "float32"], evaluation_data=dataset, metrics=metrics, verbose=0
    )
    assert report["verification"]["examples"] == 10
    expected = report["model"]["metrics"]["miou"]
    assert 0 < expected < 1
    for entry in report["formats"].values():
        assert entry["metrics"]["miou"] == pytest.approx(expected, abs=1e-3)
