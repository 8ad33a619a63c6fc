"""Groups of channels, read from models of both Kerases, and what leaves the function once they are pruned."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import PruningScheduleCallback, channel
from segopt_callbacks.channels import channel_groups, remove_channels, timing
from segopt_callbacks.channels.costs import at
from segopt_callbacks.channels.groups import components
from segopt_callbacks.channels.layers import DEPTHWISE, TRANSPOSED, Shape
from segopt_callbacks.compat import keras
from segopt_callbacks.model import signature
from segopt_callbacks.processes import TensorFlowProcess
from segopt_callbacks.pruning.patterns import as_matrix

SIZE, SPARSITY = 8, 0.5


class Residual(keras.Model):
    """Blocks that add, gate, convolve by depth and concatenate, normalized behind sums and concatenations."""

    def __init__(self):
        super().__init__()
        layers = keras.layers
        names = ("stem", "inner", "outer", "beside", "last")
        self.convs = [layers.Conv2D(8, 3, padding="same", use_bias=name == "stem", name=name) for name in names]
        self.norms = [layers.BatchNormalization(name=f"norm_{number}") for number in range(3)]
        self.gates = [layers.Dense(4, activation="relu", name="squeeze"), layers.Dense(8, "sigmoid", name="excite")]
        self.by_depth = layers.DepthwiseConv2D(3, padding="same", name="by_depth")
        self.head = layers.Conv2D(2, 1, name="head")

    def call(self, inputs):
        stem, inner, outer, beside, last = self.convs
        x = stem(inputs)
        x = x + outer(tf.nn.relu(self.norms[0](inner(x))))
        gate = x
        for one in self.gates:
            gate = one(tf.reduce_mean(gate, [1, 2], keepdims=True) if gate is x else gate)
        x = self.by_depth(tf.nn.relu(self.norms[1](x)) * gate)
        x = tf.concat([x, beside(inputs)], -1)
        return self.head(tf.nn.relu(last(tf.nn.relu(self.norms[2](x)))))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    made = Residual()
    made(np.zeros((1, SIZE, SIZE, 3), "float32"))
    made.compile("sgd", "mse")
    return made


def kernels(model):
    layers = [*model.convs, *model.gates, model.by_depth]
    return {one.name: (one.weights[0], (-2, -1) if one.name == "by_depth" else (-1,)) for one in layers}


def specs():
    return tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)


def test_what_is_added_or_multiplied_is_one_group(model):
    groups = channel_groups(model, specs(), kernels(model))
    for name in ("outer", "excite", "by_depth"):
        np.testing.assert_array_equal(groups.kernels[name], groups.kernels["stem"])
    others = [groups.kernels[name] for name in ("stem", "inner", "squeeze", "beside", "last")]
    assert len(set(np.concatenate(others))) == sum(map(len, others))
    vectors = {id(one): labels for one, labels in groups.vectors}
    # The normalization behind the concatenation follows both of its pieces.
    np.testing.assert_array_equal(
        vectors[id(model.norms[2].gamma)], [*groups.kernels["stem"], *groups.kernels["beside"]]
    )


def test_a_kernel_that_is_not_pruned_holds_its_group(model):
    found = kernels(model)
    del found["outer"]
    groups = channel_groups(model, specs(), found)
    assert (groups.kernels["stem"] == -1).all()
    assert (groups.kernels["inner"] >= 0).all()


def test_a_group_without_one_of_its_kernels_is_none(model):
    groups = channel_groups(model, specs(), kernels(model)).without(["outer"])
    assert (groups.kernels["by_depth"] == -1).all()
    assert (groups.kernels["beside"] >= 0).all()
    vectors = {id(one): labels for one, labels in groups.vectors}
    np.testing.assert_array_equal(vectors[id(model.norms[2].beta)], [*[-1] * 8, *groups.kernels["beside"]])


def test_pruned_channels_leave_the_function(model):
    x = np.random.default_rng(0).uniform(size=(4, SIZE, SIZE, 3)).astype("float32")
    for one in (*(norm.beta for norm in model.norms), model.convs[0].bias):
        one.assign(np.ones(one.shape))  # what is not zeroed with its kernel would show
    callbacks = [PruningScheduleCallback(SPARSITY, pattern=channel())]
    model.fit(x, np.zeros((4, SIZE, SIZE, 2)), epochs=2, batch_size=2, verbose=0, callbacks=callbacks)
    whole = signature.freeze(model, specs(), batch_size=1)
    cut, removal = remove_channels(whole)
    assert removal.left == ()
    for path, variable in cut.weights.items():
        kept = {8: 4, 4: 2, 16: 8}  # three channels of the image, two of the answer and the taps of a depth stay
        sizes = tuple(whole.weights[path].shape)
        expected = tuple(kept.get(size, size) for size in sizes)
        assert tuple(variable.shape) == expected, path
    before, after = removal.multiply_adds
    assert after < 0.3 * before
    np.testing.assert_allclose(
        cut.serve(tf.constant(x[:1]))["output"], model(x[:1], training=False), rtol=1e-4, atol=1e-5
    )


def multiplied(layers, gone):
    """Multiplications for one example, where some groups of channels are gone."""
    total = 0
    for one in layers:
        shape, reads, makes = one.shape, (~np.isin(one.reads, gone)).sum(), (~np.isin(one.makes, gone)).sum()
        around = shape.reads if shape.kind == TRANSPOSED else shape.makes
        taps = shape.kernel[0] * shape.kernel[1] * around[0] * around[1]
        total += int(taps * makes * (1 if shape.kind == DEPTHWISE else reads))
    return total


class Strided(keras.Model):
    """Down, by depth with a multiplier, and up again; then flattened."""

    def __init__(self):
        super().__init__()
        layers = keras.layers
        self.down = layers.Conv2D(8, 3, strides=2, padding="same", name="down")
        self.by_depth = layers.DepthwiseConv2D(3, depth_multiplier=2, name="by_depth")
        self.up = layers.Conv2DTranspose(6, 2, strides=2, name="up")
        self.dense, self.head = layers.Dense(5, activation="relu", name="dense"), layers.Dense(2, name="head")

    def call(self, inputs):
        x = tf.nn.relu(self.up(tf.pad(self.by_depth(self.down(inputs)), [[0, 0], [1, 1], [1, 1], [0, 0]])))
        return self.head(self.dense(tf.reshape(x, (-1, SIZE * SIZE * 6))))


@pytest.mark.parametrize("kind", [Residual, Strided])
def test_layers_are_as_wide_as_the_function_that_has_lost_channels(kind):
    keras.utils.set_random_seed(0)
    model = kind()
    answer = model(np.zeros((1, SIZE, SIZE, 3), "float32"))
    model.compile("sgd", "mse")
    prune = PruningScheduleCallback(SPARSITY, pattern=channel())
    x = np.random.default_rng(0).uniform(size=(4, SIZE, SIZE, 3)).astype("float32")
    model.fit(x, np.zeros((4, *answer.shape[1:])), batch_size=2, verbose=0, callbacks=[prune])
    found = {path: (weight, prune.pruned.outputs[path]) for path, weight in prune.pruned.weights.items()}
    groups = channel_groups(model, specs(), found, with_layers=True)
    gone = [
        label
        for path, mask in prune.pruned.masks.items()
        for label, kept in zip(groups.kernels[path], as_matrix(mask, found[path][1]).any(0), strict=True)
        if not kept and label >= 0
    ]
    _, removal = remove_channels(signature.freeze(model, specs(), batch_size=1))
    assert len(groups.layers) == len(found) + 1  # the answer's
    assert (multiplied(groups.layers, []), multiplied(groups.layers, gone)) == removal.multiply_adds


@pytest.mark.parametrize("kind", [Residual, Strided])
def test_layers_of_each_width_are_timed_as_what_they_are(kind):
    model = kind()
    model(np.zeros((1, SIZE, SIZE, 3), "float32"))
    layers = channel_groups(model, specs(), {}, with_layers=True).layers
    grouped = Shape("Conv2D", (3, 3, 4, 8), (SIZE, SIZE, 8), (SIZE, SIZE, 8), dilations=(2, 2))
    shapes = [at(one, *widths) for one in (*(one.shape for one in layers), grouped) for widths in ((1, 1), (0.25, 0.5))]
    for shape in shapes:
        answer = timing.layer_of(shape)(np.zeros((1, *shape.reads), "float32"))["y"]
        assert answer.shape == (1, *shape.makes), shape
    with TensorFlowProcess() as process:  # where the converter may warn
        assert min(process.call(timing.milliseconds, shapes, doing="timing", time_limit=300)) > 0


@pytest.mark.either_keras
def test_components_are_those_of_a_search_from_each_node():
    random = np.random.default_rng(0)
    for _ in range(20):
        ones, others = random.integers(0, 60, (2, 40))
        neighbours = {node: {node} for node in range(60)}
        for one, other in zip(ones, others, strict=True):
            merged = neighbours[one] | neighbours[other]
            for node in merged:
                neighbours[node] = merged
        assert components(60, ones, others).tolist() == [min(neighbours[node]) for node in range(60)]
