import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from segopt_callbacks.compat import keras
from segopt_callbacks.data.metrics import MetricStates, validate_metrics

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, size=(4, 10))
ANSWERS = {name: RANDOM.normal(size=(4, 10, 3)).astype("float32") for name in ("one", "other")}


def test_artifacts_that_take_turns_do_not_mix():
    with MetricStates({"accuracy": keras.metrics.SparseCategoricalAccuracy()}) as states:
        for batch in range(4):
            for name, answers in ANSWERS.items():
                states.update(name, LABELS[batch], answers[batch])
        for name, answers in ANSWERS.items():
            expected = accuracy_score(LABELS.ravel(), answers.argmax(-1).ravel())
            assert states.result(name)["accuracy"] == pytest.approx(expected)


def test_a_value_per_class_is_a_list_and_a_class_without_score_is_none():
    class PerClass(keras.metrics.Metric):
        def update_state(self, y_true, y_pred, sample_weight=None):
            pass

        def result(self):
            return np.array([0.5, np.nan])

    with MetricStates({"iou": PerClass()}) as states:
        states.update("one", LABELS[0], ANSWERS["one"][0])
        assert states.result("one") == {"iou": [0.5, None]}


def test_without_truth_there_is_no_result():
    with MetricStates({"accuracy": keras.metrics.SparseCategoricalAccuracy()}) as states:
        states.update("one", None, ANSWERS["one"][0])
        assert states.result("one") == {}


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ([keras.metrics.SparseCategoricalAccuracy()], "must map names"),
        ({"accuracy": "accuracy"}, "instances, not classes or strings"),
        ({"accuracy": keras.metrics.SparseCategoricalAccuracy}, r"call SparseCategoricalAccuracy\(\)"),
    ],
)
def test_what_is_no_metric_is_refused(metrics, message):
    with pytest.raises(ValueError, match=message):
        validate_metrics(metrics)
