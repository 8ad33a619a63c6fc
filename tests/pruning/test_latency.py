"""Channels that are pruned for time: the choice against every other one, its laws, and a fit whose layers are timed."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from segopt_callbacks import PruningScheduleCallback, channel, compat, ramp_by_epoch
from segopt_callbacks.channels import Costs, Layer
from segopt_callbacks.channels.costs import WIDTHS, fitted
from segopt_callbacks.channels.layers import Shape
from segopt_callbacks.compat import keras
from segopt_callbacks.pruning.latency import Candidates, kept_for_time, most_saved
from segopt_callbacks.pruning.timed import timed
from tests.conformance import IMAGES, LABELS, Segmenter, compiled, fit

SHAPE = Shape("MatMul", (1, 1, 1, 1), (1, 1, 1), (1, 1, 1))  # its sizes are those of `reads` and `makes`


def by_itself(labels, milliseconds):
    """A layer whose time is that of the channels that it makes, and no other layer reads them."""
    timed = [[milliseconds / 4, milliseconds]] * 2
    return Layer("", SHAPE, np.full(1, -1), labels), timed


def costs_of(layers, timed):
    return Costs(tuple(layers), np.array([fitted(np.array(one)) for one in timed]))


@st.composite
def problems(draw):
    """A chain of layers: each reads what the one before makes, the last one makes what stays."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    seed = draw(st.integers(0, 2**16))
    random = np.random.default_rng(seed)
    starts = np.cumsum([0, *sizes])
    groups = [np.full(3, -1), *(np.arange(*pair) for pair in itertools.pairwise(starts)), np.full(2, -1)]
    layers = [Layer("", SHAPE, reads, makes) for reads, makes in itertools.pairwise(groups)]
    timed = random.uniform(0.1, 1, (len(layers), 2, 2)) * [[1, 2], [2, 4]]
    stacks = [Candidates(random.uniform(0, 1, one.size), np.ones(one.size, bool), one) for one in groups[1:-1]]
    return stacks, costs_of(layers, timed), random


def saved(costs, alive):
    """The fraction of the time that is saved, counted channel by channel."""
    gone = np.flatnonzero(~np.concatenate(alive))
    left = [[np.mean(~np.isin(groups, gone)) for groups in (one.reads, one.makes)] for one in costs.layers]
    return 1 - costs.of(*np.transpose(left)) / costs.of(*np.ones((2, len(left))))


@settings(max_examples=100, deadline=None)
@given(problems(), st.floats(0, 0.99), st.integers(1, 4))
def test_the_time_is_saved_with_channels_to_spare(problem, share, multiple):
    stacks, costs, _ = problem
    kept = kept_for_time(stacks, share, costs, multiple=multiple)
    for one, alive in zip(stacks, kept, strict=True):
        assert alive.all() or alive.sum() % multiple == 0
        assert alive.sum() >= min(multiple, alive.size)
        if not alive.all():  # the least important ones have gone
            assert one.importance[~alive].max() <= one.importance[alive].min()
    most = most_saved([one.labels for one in stacks], costs, multiple=multiple)
    assert saved(costs, kept) >= min(share, most) - 1e-9
    assert saved(costs, kept) <= most + 1e-9


@settings(max_examples=100, deadline=None)
@given(problems(), st.floats(0, 0.9), st.floats(0, 0.9))
def test_masks_nest_and_the_same_share_again_changes_nothing(problem, one, other):
    stacks, costs, _ = problem
    low, high = sorted((one, other))
    first = kept_for_time(stacks, low, costs)
    stacks = [Candidates(one.importance, alive, one.labels) for one, alive in zip(stacks, first, strict=True)]
    for alive, again in zip(first, kept_for_time(stacks, low, costs), strict=True):
        np.testing.assert_array_equal(alive, again)
    for alive, more in zip(first, kept_for_time(stacks, high, costs), strict=True):
        assert not (more & ~alive).any()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**16), st.floats(0.05, 0.8))
def test_no_other_choice_saves_as_much_and_matters_less(seed, share):
    random = np.random.default_rng(seed)
    groups = np.split(np.arange(11), [4, 7])
    layers, timed = zip(*(by_itself(one, random.uniform(0.5, 8)) for one in groups), strict=True)
    costs = costs_of(layers, timed)
    stacks = [Candidates(random.uniform(0.01, 1, one.size), np.ones(one.size, bool), one) for one in groups]
    ours = kept_for_time(stacks, share, costs)

    def kept(counts):  # of each layer, so many of the most important ones
        return [one.importance >= np.sort(one.importance)[-count] for one, count in zip(stacks, counts, strict=True)]

    def matters(alive):
        shares = [one.importance[on].sum() / one.importance.sum() for one, on in zip(stacks, alive, strict=True)]
        return -sum(math.log(one) for one in shares)

    every = [kept(counts) for counts in itertools.product(*(range(1, one.size + 1) for one in groups))]
    least = min(matters(one) for one in every if saved(costs, one) >= saved(costs, ours) - 1e-12)
    assert matters(ours) <= least + 1e-9


def test_what_a_file_would_keep_is_not_pruned():
    groups = [np.arange(6), np.full(6, -1)]
    layers, timed = zip(*(by_itself(one, 1.0) for one in groups), strict=True)
    stacks = [Candidates(np.linspace(0.1, 1, 6), np.ones(6, bool), one) for one in groups]
    first, second = kept_for_time(stacks, 0.4, costs_of(layers, timed))
    assert second.all()
    assert first.sum() == 1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**16))
def test_costs_are_fitted_as_scipy_does(seed):
    timed = np.random.default_rng(seed).uniform(0.1, 5, (2, 2))
    columns = [[1, read, made, read * made] for read in WIDTHS for made in WIDTHS]
    np.testing.assert_allclose(fitted(timed), scipy.optimize.nnls(np.array(columns), timed.ravel())[0], atol=1e-8)


@pytest.mark.slow
def test_a_fit_saves_the_time_of_layers_that_were_timed():
    layers = [keras.layers.Conv2D(256, 3, padding="same", activation="relu") for _ in range(2)]
    model = compiled(keras.Sequential([keras.Input(IMAGES.shape[1:]), *layers, keras.layers.Conv2D(3, 1)]))
    prune = PruningScheduleCallback(ramp_by_epoch(0.3, 0, 2), pattern=channel(), scope="latency", verbose=1)
    fit(model, prune, epochs=3)
    costs = prune.pruned.costs
    alive = {}
    for path, mask in prune.pruned.masks.items():
        kept = mask.reshape(-1, mask.shape[-1]).any(0)
        alive |= dict(zip(prune.pruned.labels[path].tolist(), kept.tolist(), strict=True))
    gone = [label for label, on in alive.items() if not on]
    left = [[np.mean(~np.isin(one, gone)) for one in (layer.reads, layer.makes)] for layer in costs.layers]
    assert 1 - costs.of(*np.transpose(left)) / costs.of(*np.ones((2, len(left)))) >= 0.3
    assert all(compat.get_constraint(weight) is None for weight in model.trainable_weights)
    model.predict(IMAGES, verbose=0)


def test_more_than_can_be_saved_is_refused(clock):
    prune = PruningScheduleCallback(0.999, pattern=channel(), scope="latency")
    with pytest.raises(ValueError, match=r"can save 0\.\d+ of the time of the layers at most; lower"):
        fit(compiled(Segmenter()), prune)


OPEN = (tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((None, None, None), tf.int32))


def of_size(*size):
    inputs = keras.Input((*size, 3))
    hidden = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    return compiled(keras.Model(inputs, keras.layers.Conv2D(3, 1)(hidden)))


def of_open_sizes():
    data = tf.data.Dataset.from_generator(lambda: [(IMAGES, LABELS)], output_signature=OPEN)
    return data.apply(tf.data.experimental.assert_cardinality(1))


def with_sizes(images, labels):
    return tf.ensure_shape(images, (None, *IMAGES.shape[1:])), labels


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (lambda: of_size(None, None), lambda: tf.data.Dataset.from_tensors((IMAGES, LABELS))),
        (lambda: of_size(None, None), lambda: of_open_sizes().map(with_sizes)),
        (lambda: of_size(*IMAGES.shape[1:3]), of_open_sizes),
    ],
    ids=["of_the_data", "ensured", "of_the_model"],
)
def test_layers_are_timed_on_the_size_that_either_knows(clock, model, data):
    prune = PruningScheduleCallback(0.3, pattern=channel(), scope="latency")
    model().fit(data(), callbacks=[prune], verbose=0, shuffle=False)
    assert [layer.shape.reads[:2] for layer in prune.pruned.costs.layers] == [IMAGES.shape[1:3]] * 2
    assert prune.pruned.sparsity() > 0


def test_images_of_an_open_size_are_refused(clock):
    prune = PruningScheduleCallback(0.3, pattern=channel(), scope="latency")
    with pytest.raises(ValueError, match="one size; give `Input` or the training data a fixed height and width"):
        of_size(None, None).fit(of_open_sizes(), callbacks=[prune], verbose=0, shuffle=False)


def test_several_workers_are_refused(monkeypatch):
    monkeypatch.setattr("segopt_callbacks.pruning.timed.compat.number_of_workers", lambda: 2)
    with pytest.raises(ValueError, match="train with one worker"):
        timed([])


def test_a_model_without_layers_to_time_is_refused():
    with pytest.raises(ValueError, match='use scope="global"'):
        timed([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"whole channels; add pattern=channel\(\)"),
        ({"pattern": channel(), "distribution": "erk"}, "spreads the zeros itself; leave `distribution` out"),
    ],
)
def test_what_contradicts_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PruningScheduleCallback(0.5, scope="latency", **arguments)


def test_several_schedules_are_refused():
    with pytest.raises(ValueError, match="give one schedule, and `filters`"):
        PruningScheduleCallback({"a": 0.5, "b": 0.3}, pattern=channel(), scope="latency")
