"""Figures for each output, and each channel that has a unit of its own; what destroys one is never averaged away."""

import re

import numpy as np
import pytest

from segopt_callbacks.compat import keras
from segopt_callbacks.export.checks.agreement import MOST_CHANNELS, Agreement, OutputAgreement
from segopt_callbacks.export.checks.classes import criteria_of, is_of_classes, outputs_of_classes
from segopt_callbacks.export.checks.judgement import judge
from segopt_callbacks.export.checks.nature import Nature

RNG = np.random.default_rng(0)
BOXES, SCORES = RNG.uniform(0, 640, (50, 4)), RNG.uniform(0, 1, (50, 3))


def agreement(expected, answer, **outputs):
    """Of one output, in two batches."""
    found = Agreement([OutputAgreement("out", **outputs)])
    for part in (slice(0, 20), slice(20, None)):
        found.add([np.asarray(expected)[part]], [np.asarray(answer)[part]])
    return found


def judged(found, tolerance=0.5, nature=None):
    causes, doubts = judge({"file": found}, {"file": tolerance}, nature or Nature())
    return causes.get("file"), doubts.get("file")


def rounded(values, step):
    return np.round(values / step) * step


def test_a_good_head_hides_no_bad_one():
    mask, label = RNG.normal(size=(50, 100, 3)), RNG.normal(size=(50, 3))
    both = Agreement([OutputAgreement("mask", has_classes=True), OutputAgreement("label", has_classes=True)])
    both.add([mask, label], [mask, -label])
    figures = both.result()
    assert [one["equal_argmax"] for one in figures["outputs"]] == [1.0, 0.0]
    assert figures["equal_argmax"] == 0.0
    assert figures["relative_difference"] == figures["outputs"][1]["relative_difference"] > 1


def test_scores_beside_boxes_that_are_zero_everywhere_fail_the_file():
    expected = np.concatenate([BOXES, SCORES], -1)
    cause, _ = judged(agreement(expected, rounded(expected, 5.0)))
    assert cause.startswith("channels 4, 5, 6 of output 'out' are constant in the file, and vary in the model")
    assert "an output of its own" in cause


def test_scores_beside_boxes_that_are_coarse_are_told_each_with_its_figure():
    expected = np.concatenate([BOXES, SCORES], -1)
    found = agreement(expected, rounded(expected, 0.9))
    channels = {one["channel"]: one["relative_difference"] for one in found.result()["outputs"][0]["channels"]}
    own = np.abs(rounded(SCORES, 0.9) - SCORES).max(0) / SCORES.max(0)
    np.testing.assert_allclose([channels[index] for index in (4, 5, 6)], own)
    cause, doubts = judged(found)
    assert cause is None
    assert "differ by more than a factor of 100 in scale" in doubts[0]


def test_channels_of_one_scale_have_no_figures_of_their_own():
    found = agreement(SCORES, SCORES + 0.01)
    assert "channels" not in found.result()["outputs"][0]
    assert judged(found) == (None, None)


def cut_off(**outputs):
    values = RNG.normal(size=(50, 3))
    return agreement(values, np.minimum(values, 0.7 * values.max()), **outputs)


@pytest.mark.parametrize(
    ("origin", "remedy"),
    [
        ("learned", "ranges were learned in training.*call export_model without `ranges`"),
        ("calibrated", "calibrated on, pass more of them as `representative_dataset`"),
        ("", "of its largest answer$"),
    ],
)
def test_numbers_whose_largest_are_cut_off_are_told_with_what_to_do(origin, remedy):
    refused, warned = judge({"file": cut_off()}, {"file": 0.5}, Nature(), **({origin: ["file"]} if origin else {}))
    assert refused == {}
    (told,) = warned["file"]
    assert re.search(remedy, told)


def test_logits_whose_largest_are_cut_off_are_near():
    assert judged(cut_off(has_classes=True)) == (None, None)


def test_of_many_channels_the_worst_are_told():
    expected = RNG.uniform(0, 1, (50, 1000)) * np.geomspace(1, 1000, 1000)
    found = agreement(expected, expected * np.linspace(1, 1.01, 1000)).result()["outputs"][0]["channels"]
    assert [one["channel"] for one in found] == list(range(1000 - MOST_CHANNELS, 1000))


@pytest.mark.parametrize("tolerance", [0.01, 0.5, 1.0], ids=["float", "int8", "int4"])
def test_a_head_that_varies_in_the_model_and_not_in_the_file_fails_every_format(tolerance):
    logits = 5 + RNG.normal(size=(50, 3))  # a constant is within a half of the largest answer
    cause, _ = judged(agreement(logits, np.full_like(logits, 6.0), has_classes=True), tolerance)
    assert cause is not None


def test_a_class_that_is_rare_may_be_rounded_away():
    logits = np.concatenate([RNG.normal(size=(50, 2)), np.full((50, 1), -9.0)], -1)
    scores = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    answers = rounded(scores, 1 / 256)
    assert np.ptp(answers[:, 2]) == 0 < np.ptp(scores[:, 2])
    assert judged(agreement(scores, answers, has_classes=True)) == (None, None)


def test_a_channel_without_a_unit_of_its_own_that_rounding_does_not_resolve_is_near():
    expected = np.concatenate([RNG.normal(size=(50, 3)), 0.001 + 1e-4 * RNG.normal(size=(50, 1))], -1)
    cause, doubts = judged(agreement(expected, rounded(expected, 0.02)))
    assert cause is None
    assert doubts


def test_a_float_file_is_held_to_each_channels_own_scale():
    expected = np.concatenate([BOXES, SCORES], -1)
    answers = expected.copy()
    answers[:, 5] *= 0.9  # 0.00014 of the largest answer
    cause, _ = judged(agreement(expected, answers), 0.01)
    assert "0.1 of the largest answer in 'out[..., 5]'" in cause


def test_integers_that_are_one_number_fail_where_the_models_vary():
    expected = RNG.integers(0, 3, (50, 8, 8))
    cause, _ = judged(agreement(expected, np.ones_like(expected)))
    assert cause.startswith("output 'out' is the same number everywhere")
    assert judged(agreement(np.ones_like(expected), np.ones_like(expected))) == (None, None)


@pytest.mark.parametrize("tolerance", [0.01, 0.5, 1.0])
def test_beyond_its_tolerance_a_file_fails(tolerance):
    expected = RNG.normal(size=(50, 3))
    error = tolerance * np.abs(expected).max()
    for factor, fails in ((0.9, False), (1.1, True)):
        answers = expected + factor * error * (np.arange(150).reshape(50, 3) == 7)
        assert (judged(agreement(expected, answers), tolerance)[0] is not None) is fails


def test_what_depends_on_its_batch_is_blamed_on_the_model():
    expected = RNG.normal(size=(50, 3))
    cause, _ = judged(agreement(expected, -expected), nature=Nature(alone=0.8))
    assert cause.startswith("the model depends on its batch")
    assert judged(agreement(expected, -expected), nature=Nature(is_random=True)) == (None, None)


@pytest.mark.parametrize(
    "criterion",
    [
        "sparse_categorical_crossentropy",
        keras.losses.CategoricalCrossentropy(from_logits=True),
        keras.losses.sparse_categorical_crossentropy,
        keras.metrics.SparseCategoricalAccuracy(),
        keras.metrics.SparseTopKCategoricalAccuracy(),
        keras.metrics.MeanIoU(3, sparse_y_pred=False),
        keras.losses.KLDivergence(),
        "kld",
    ],
)
def test_a_loss_or_a_metric_tells_of_classes(criterion):
    assert is_of_classes(criterion)


@pytest.mark.parametrize("criterion", ["mse", keras.losses.Huber(), keras.losses.BinaryCrossentropy(), "accuracy"])
def test_a_loss_or_a_metric_of_something_else_does_not(criterion):
    assert not is_of_classes(criterion)


def test_targets_and_answers_tell_of_classes_too():
    logits, softmax = RNG.normal(size=(6, 3)), np.full((6, 3), 1 / 3)
    numbers, one_hot = np.arange(6) % 3, np.eye(3)[np.arange(6) % 3]
    for answer, target in ((logits, numbers), (logits, numbers[:, None]), (logits, one_hot), (softmax, None)):
        assert outputs_of_classes([answer], [target], [[]]) == [True]
    for answer, target in ((logits, None), (logits, logits), (logits[:, :1], numbers), (numbers, numbers)):
        assert outputs_of_classes([answer], [target], [[]]) == [False]
    assert outputs_of_classes([logits], [None], [[]], 3) == [True]


def test_each_output_has_its_own_loss():
    keys = ["label", "mask"]
    assert criteria_of({"mask": "mse"}, keys, 2) == [[], ["mse"]]
    assert criteria_of(["mse", ["mae", "kld"]], keys, 2) == [["mse"], ["mae", "kld"]]
    assert criteria_of("mse", keys, 2) == [["mse"], ["mse"]]
    assert criteria_of(None, keys, 2) == [[], []]
    assert criteria_of(["mse"], ["out"], 1) == [["mse"]]
