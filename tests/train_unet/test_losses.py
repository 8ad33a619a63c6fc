"""Losses and metrics against scikit-learn and against the formulas written out in NumPy."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import jaccard_score, log_loss

from segopt_callbacks.compat import keras
from train_unet import losses
from train_unet.losses import LOSSES, SegmentationLoss, class_ious, cross_entropy, mean_iou, soft_dice

CLASSES = 4
IGNORED = [CLASSES, 255, 1, None]  # beyond the logits, far beyond, one of the logits, none


def batch(ignore, seed=0, size=(3, 6, 5)):
    """Masks with ids in reach, some of them ignored, and logits."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, CLASSES, size)
    if ignore is not None:
        masks[rng.random(size) < 0.3] = ignore
    return masks.astype(np.uint8), rng.normal(0, 2, (*size, CLASSES)).astype(np.float32)


def labelled(masks, logits, ignore):
    """Flat ids and probabilities of the labelled pixels."""
    keep = np.ones(masks.shape, bool) if ignore is None else masks != ignore
    exp = np.exp(logits[keep].astype(np.float64))
    return masks[keep], exp / exp.sum(axis=-1, keepdims=True)


def numpy_dice(ids, probabilities):
    coefficients = []
    for c in np.unique(ids):
        truth = ids == c
        overlap = 2 * probabilities[truth, c].sum()
        coefficients.append(overlap / (probabilities[:, c].sum() + truth.sum()))
    return 1 - np.mean(coefficients)


@pytest.mark.parametrize("ignore", IGNORED)
def test_cross_entropy_is_that_of_sklearn_over_the_labelled_pixels(ignore):
    masks, logits = batch(ignore)
    ids, probabilities = labelled(masks, logits, ignore)
    expected = log_loss(ids, probabilities / probabilities.sum(axis=-1, keepdims=True), labels=range(CLASSES))
    assert float(cross_entropy(masks, logits, ignore)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ignore", IGNORED)
def test_soft_dice_is_the_formula(ignore):
    masks, logits = batch(ignore)
    expected = numpy_dice(*labelled(masks, logits, ignore))
    assert float(soft_dice(masks, logits, ignore)) == pytest.approx(expected, rel=1e-5)


def test_soft_dice_leaves_absent_classes_out():
    masks, logits = batch(None)
    masks = np.where(masks == 2, 0, masks)
    assert float(soft_dice(masks, logits)) == pytest.approx(numpy_dice(*labelled(masks, logits, None)), rel=1e-5)


def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_much():
    masks, _ = batch(None)
    logits = 40.0 * tf.one_hot(masks, CLASSES)
    for name, loss in LOSSES.items():
        assert float(loss(masks, logits)) == pytest.approx(0.0, abs=1e-6), name
        assert float(loss(masks, -logits)) > 0.9, name


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_have_no_gradient_and_no_say(name):
    masks, logits = batch(255)
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = LOSSES[name](masks, variable, 255)
    gradient = tape.gradient(loss, variable).numpy()
    assert np.all(gradient[masks == 255] == 0)
    assert np.all(np.abs(gradient[masks != 255]).sum(axis=-1) > 0)
    noise = np.random.default_rng(1).normal(0, 9, logits.shape)
    changed = np.where((masks == 255)[..., None], noise, logits).astype(np.float32)
    assert float(LOSSES[name](masks, changed, 255)) == pytest.approx(float(loss), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_labels_costs_zero_and_trains_nothing(name):
    masks, logits = np.full((2, 4, 4), 255, np.uint8), tf.Variable(batch(None, size=(2, 4, 4))[1])
    with tf.GradientTape() as tape:
        loss = LOSSES[name](masks, logits, 255)
    assert float(loss) == 0.0
    assert not tape.gradient(loss, logits).numpy().any()


def test_the_sum_is_the_sum():
    masks, logits = batch(4)
    total = float(LOSSES["cross_entropy_dice"](masks, logits, 4))
    assert total == pytest.approx(float(cross_entropy(masks, logits, 4)) + float(soft_dice(masks, logits, 4)), rel=1e-6)


def test_float16_logits_are_computed_in_float32():
    masks, logits = batch(4)
    half = tf.cast(logits, tf.float16)
    loss = cross_entropy(masks, half, 4)
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(float(cross_entropy(masks, tf.cast(half, tf.float32), 4)), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_keras_sees_the_same_value_and_saves_it(name):
    masks, logits = batch(255)
    loss = SegmentationLoss(name, ignore_class=255)
    again = SegmentationLoss.from_config(loss.get_config())
    expected = float(LOSSES[name](masks, logits, 255))
    assert float(loss(masks, logits)) == pytest.approx(expected, rel=1e-6)
    assert float(again(masks, logits)) == pytest.approx(expected, rel=1e-6)
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (restored.loss, restored.ignore_class, restored.name) == (name, 255, name)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match=r"`loss` must be one of cross_entropy, .* Received: loss='hinge'"):
        SegmentationLoss("hinge")


@pytest.mark.parametrize("ignore", IGNORED)
def test_mean_iou_is_the_mean_of_sklearn_over_two_batches(ignore):
    first, second = batch(ignore, seed=1), batch(ignore, seed=2, size=(2, 6, 5))
    metric = mean_iou(CLASSES, ignore_class=ignore)
    ids, predicted = [], []
    for masks, logits in (first, second):
        metric.update_state(masks, logits)
        keep = np.ones(masks.shape, bool) if ignore is None else masks != ignore
        ids.append(masks[keep])
        predicted.append(logits.argmax(axis=-1)[keep])
    expected = jaccard_score(np.concatenate(ids), np.concatenate(predicted), average="macro")
    assert metric.name == "mIoU"
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


def test_a_class_without_pixels_is_left_out_of_the_mean_and_is_zero_by_itself():
    masks = np.array([[[0, 0, 1, 9]]])
    logits = 5.0 * tf.one_hot([[[0, 1, 1, 2]]], CLASSES)  # classes 2 and 3 have no labelled pixel, none is predicted
    metrics = [mean_iou(CLASSES, ignore_class=9), *class_ious("abcd", ignore_class=9)]
    for metric in metrics:
        metric.update_state(masks, logits)
    assert [metric.name for metric in metrics] == ["mIoU", "iou_a", "iou_b", "iou_c", "iou_d"]
    assert [float(metric.result()) for metric in metrics] == pytest.approx([0.5, 0.5, 0.5, 0.0, 0.0])


def test_class_ious_are_those_of_sklearn():
    masks, logits = batch(4)
    keep = masks != 4
    expected = jaccard_score(masks[keep], logits.argmax(axis=-1)[keep], average=None)
    values = []
    for metric in class_ious("abcd", ignore_class=4):
        metric.update_state(masks, logits)
        values.append(float(metric.result()))
    assert values == pytest.approx(list(expected), rel=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_they_train_a_model(jit_compile):
    keras.utils.set_random_seed(0)
    masks, logits = batch(4, size=(4, 8, 8))
    model = keras.Sequential([keras.Input((8, 8, CLASSES)), keras.layers.Conv2D(CLASSES, 1)])
    model.compile(
        keras.optimizers.Adam(0.1),
        SegmentationLoss("cross_entropy_dice", ignore_class=4),
        metrics=[mean_iou(CLASSES, ignore_class=4)],
        jit_compile=jit_compile,
    )
    # Inputs from which a linear layer can tell the class, and nothing from the logits that come with them.
    history = model.fit(tf.one_hot(masks % 4, CLASSES) + 0.01 * logits, masks, epochs=25, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["mIoU"][-1] > 0.9


def test_the_examples_in_the_docstrings_run():
    results = doctest.testmod(losses)
    assert results.failed == 0
    assert results.attempted == 2
