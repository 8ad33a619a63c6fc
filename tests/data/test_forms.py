import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks.data.enough import MOST
from segopt_callbacks.data.forms import (
    BATCH_SIZE,
    EXAMPLE_LIMIT,
    evaluation_batches,
    evaluation_examples,
    representative_examples,
    synthetic_example,
    validate_evaluation_data,
    validate_representative_dataset,
)

X = np.arange(21 * 4, dtype="float32").reshape(21, 4)
Y = np.arange(21)
SPEC = tf.TensorSpec((None, 4), tf.float32)


def dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


@pytest.mark.parametrize("data", [(X, Y), [X, Y], dataset(X, Y).batch(8)], ids=["tuple", "list", "dataset"])
def test_batches_hold_every_example_once_and_in_order(data):
    batches = list(evaluation_batches(data))
    np.testing.assert_array_equal(np.concatenate([x for x, _, _ in batches]), X)
    np.testing.assert_array_equal(np.concatenate([y for _, y, _ in batches]), Y)
    assert {weight for _, _, weight in batches} == {None}
    assert max(len(x) for x, _, _ in batches) <= BATCH_SIZE


def test_sample_weights_go_along():
    for data in ((X, Y, Y * 2), dataset(X, Y, Y * 2).batch(5)):
        np.testing.assert_array_equal(np.concatenate([weight for _, _, weight in evaluation_batches(data)]), Y * 2)


def test_structures_are_cut_leaf_by_leaf():
    batches = list(evaluation_batches(({"a": X, "b": -X}, Y)))
    np.testing.assert_array_equal(np.concatenate([x["b"] for x, _, _ in batches]), -X)


@pytest.mark.parametrize(
    "data",
    [
        lambda: ([x[np.newaxis]] for x in X),
        lambda: ({"input": x[np.newaxis]} for x in X),
        dataset(X),
        dataset(X, Y),
        dataset(X).batch(4),
        dataset(X, Y).batch(4),
    ],
    ids=["lists", "dicts", "dataset", "pairs", "batches", "batches_of_pairs"],
)
def test_representative_examples_come_one_at_a_time(data):
    examples = list(representative_examples(data, SPEC))
    assert {example.shape for example in examples} == {(1, 4)}
    np.testing.assert_array_equal(np.concatenate(examples), X)


def test_no_more_examples_than_are_of_use():
    many = np.zeros((MOST + 5, 4), "float32")
    assert len(list(evaluation_examples((many, many)))) == MOST
    assert len(list(representative_examples(dataset(many).repeat(), SPEC))) == MOST
    images = np.zeros((EXAMPLE_LIMIT + 5, 16, 32), "float32")
    assert len(list(evaluation_examples(images))) == EXAMPLE_LIMIT


def test_noise_looks_like_what_the_model_takes():
    example = synthetic_example(tf.TensorSpec((None, 50, 50, 3), tf.uint8))
    assert example.dtype == np.uint8
    assert example.shape == (1, 50, 50, 3)
    assert example.min() == 0
    assert example.max() == 255


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataset(X, Y).batch(2).repeat(), "must end"),
        ((X[:0], Y[:0]), "at least one example"),
    ],
)
def test_evaluation_data_of_another_form_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        validate_evaluation_data(data)


def test_representative_data_of_another_form_are_refused():
    with pytest.raises(ValueError, match="must be a callable"):
        validate_representative_dataset(X)
