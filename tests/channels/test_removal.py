"""The pass over a graph, without Keras: random graphs beside the whole one, and single operations."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segopt_callbacks.channels import remove_channels
from tests.channels.random_graphs import SIZE, Builder, frozen


def answers(function, x):
    return {name: one.numpy() for name, one in function.serve(tf.constant(x)).items()}


@given(data=st.data(), seed=st.integers(0, 1 << 16), steps=st.integers(3, 12), batch_size=st.sampled_from([1, 2, None]))
@settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_random_graph_answers_as_before(data, seed, steps, batch_size):
    builder = Builder(lambda choices: data.draw(st.sampled_from(list(choices))), seed)
    for _ in range(steps):
        builder.step()
    whole = builder.function(batch_size)
    cut, removal = remove_channels(whole)
    x = np.random.default_rng(seed).normal(size=(batch_size or 3, SIZE, SIZE, 3)).astype("float32")
    expected, found = answers(whole, x), answers(cut, x)
    for name, one in expected.items():
        np.testing.assert_allclose(found[name], one, rtol=1e-3, atol=1e-4 * max(1.0, np.abs(one).max()))
    assert (cut is whole) == (removal.parameters[0] == removal.parameters[1])


# Between two convolutions, of which the first has two dead channels of four: what comes between, channels that stay,
# and a part of the reason where dead ones do.
BETWEEN = {
    "relu": (lambda x: tf.nn.relu(x), 2, ""),
    "sigmoid": (lambda x: tf.sigmoid(x), 4, "Sigmoid"),
    "gate of sigmoids": (lambda x: x * tf.sigmoid(x), 2, ""),
    "added constant": (lambda x: tf.add(x, [0.0, 0.0, 0.0, 1.0]), 2, ""),
    "constant on a dead one": (lambda x: tf.add(x, [1.0, 0.0, 0.0, 0.0]), 3, "AddV2"),
    "negative constant and relu": (lambda x: tf.nn.relu(x - [1.0, 2.0, 0.0, 0.0]), 2, ""),
    "zero product": (lambda x: x * [1.0, 1.0, 0.0, 1.0], 1, ""),
    "padding with zeros": (lambda x: tf.pad(x, [[0, 0], [2, 1], [0, 1], [0, 0]]), 2, ""),
    "padding with ones": (lambda x: tf.pad(x, [[0, 0], [2, 1], [0, 1], [0, 0]], constant_values=1), 4, "PadV2"),
    "maximum with another": (lambda x: tf.maximum(x, tf.reduce_mean(x, [1, 2], keepdims=True)), 2, ""),
    "mean over channels": (lambda x: x - tf.reduce_mean(x, -1, keepdims=True), 4, "Mean"),
    "softmax": (lambda x: tf.nn.softmax(x), 4, "Softmax"),
    "transposition": (lambda x: tf.transpose(x, [0, 3, 1, 2])[:, :, :, :4], 4, "Transpose"),
    "loop": (lambda x: tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, y * 2), [0, x])[1], 4, "While"),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_what_comes_between_two_convolutions_decides(name):
    between, stay, reason = BETWEEN[name]
    random = np.random.default_rng(0)
    first, second = (random.normal(size=(3, 3, *shape)).astype("float32") for shape in ((3, 4), (4, 2)))
    first[..., :2] = 0
    weights = {"first": first, "second": second}

    def compute(x, variables):
        hidden = tf.nn.conv2d(x, variables["first"], 1, "SAME", name="dead")
        return [tf.nn.conv2d(between(hidden), variables["second"], 1, "SAME")]

    whole = frozen(compute, (6, 6, 3), weights)
    cut, removal = remove_channels(whole)
    x = random.normal(size=(1, 6, 6, 3)).astype("float32")
    np.testing.assert_allclose(*(answers(one, x)["output_0"] for one in (cut, whole)), rtol=1e-4, atol=1e-4)
    assert cut.weights["first"].shape[-1] == stay
    assert cut.weights["second"].shape[-2] == stay
    dead = [(count, why) for where, count, why in removal.left if where == "dead"]
    assert bool(dead) == bool(reason)
    assert all(reason in why for _, why in dead)


def test_channels_that_nobody_reads_go_too():
    random = np.random.default_rng(0)
    first, second = (random.normal(size=(1, 1, *shape)).astype("float32") for shape in ((3, 4), (4, 2)))
    second[:, :, 1] = 0

    def compute(x, variables):
        return [tf.nn.conv2d(tf.exp(tf.nn.conv2d(x, variables["first"], 1, "SAME")), variables["second"], 1, "SAME")]

    whole = frozen(compute, (6, 6, 3), {"first": first, "second": second})
    cut, removal = remove_channels(whole)
    np.testing.assert_array_equal(cut.weights["first"], first[..., [0, 2, 3]])
    assert removal.multiply_adds == (36 * (12 + 8), 36 * (9 + 6))


def test_nothing_dead_leaves_the_function_itself():
    kernel = np.ones((1, 1, 3, 2), "float32")
    whole = frozen(
        lambda x, variables: [tf.nn.conv2d(x, variables["kernel"], 1, "SAME")], (6, 6, 3), {"kernel": kernel}
    )
    cut, removal = remove_channels(whole)
    assert cut is whole
    assert removal.removed == {}


def test_the_last_channel_of_a_squeezed_bias_is_no_axis_that_goes():
    random = np.random.default_rng(0)
    weights = {
        name: random.normal(size=(1, 1, *shape)).astype("float32") for name, shape in (("a", (3, 4)), ("b", (4, 2)))
    }
    weights["a"][..., 1:] = 0
    weights["bias"] = np.array([1, 0, 0, 0], "float32")

    def compute(x, variables):
        bias = tf.squeeze(tf.reshape(variables["bias"], [1, 1, 1, 4]))  # as Keras 3 adds one
        return [
            tf.nn.conv2d(tf.nn.bias_add(tf.nn.conv2d(x, variables["a"], 1, "SAME"), bias), variables["b"], 1, "SAME")
        ]

    whole = frozen(compute, (6, 6, 3), weights)
    cut, _ = remove_channels(whole)
    assert tuple(cut.weights["a"].shape) == (1, 1, 3, 1)
    x = random.normal(size=(1, 6, 6, 3)).astype("float32")
    np.testing.assert_allclose(*(answers(one, x)["output_0"] for one in (cut, whole)), rtol=1e-4, atol=1e-5)


def test_a_dead_model_keeps_one_channel():
    weights = {name: np.zeros((1, 1, *shape), "float32") for name, shape in (("a", (3, 4)), ("b", (4, 2)))}

    def compute(x, variables):
        return [tf.nn.conv2d(tf.nn.conv2d(x, variables["a"], 1, "SAME"), variables["b"], 1, "SAME")]

    cut, _ = remove_channels(frozen(compute, (6, 6, 3), weights))
    assert [tuple(one.shape) for one in cut.weights.values()] == [(1, 1, 3, 1), (1, 1, 1, 2)]
    assert not answers(cut, np.ones((1, 6, 6, 3), "float32"))["output_0"].any()
