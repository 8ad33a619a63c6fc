import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from segopt_callbacks.pruning.distributions import distribute, erk_sparsities
from segopt_callbacks.pruning.masks import global_masks, magnitude_mask, number_of_zeros
from segopt_callbacks.pruning.patterns import UNSTRUCTURED

weights = npst.arrays(np.float32, npst.array_shapes(max_dims=5, max_side=6), elements=st.floats(-10, 10, width=16))
fractions = st.floats(0, 1, exclude_max=True)
shapes = st.lists(npst.array_shapes(min_dims=2, max_dims=5, max_side=24), min_size=1, max_size=8)


@settings(deadline=None)
@given(weights=weights, sparsity=fractions)
def test_exactly_as_many_zeros_as_asked_for_and_the_smallest(weights, sparsity):
    mask = magnitude_mask(weights, sparsity)
    assert mask.shape == weights.shape
    assert np.count_nonzero(~mask) == min(round(sparsity * weights.size), weights.size - 1)
    if mask.any() and not mask.all():
        assert np.abs(weights[mask]).min() >= np.abs(weights[~mask]).max()


@settings(deadline=None)
@given(weights=weights, first=fractions, second=fractions)
def test_masks_nest_as_sparsity_grows(weights, first, second):
    low, high = sorted([first, second])
    before = magnitude_mask(weights, low)
    after = magnitude_mask(weights * before, high, pruned=~before)
    assert not np.any(after & ~before)


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.97])
@pytest.mark.parametrize("order", ["random", "sorted", "misleading"])
def test_the_threshold_of_a_large_weight_is_that_of_a_full_partition(order, zeros):
    random = np.random.default_rng(0)
    values = np.abs(random.normal(size=300_001)).astype(np.float32)
    values[random.uniform(size=values.size) < zeros] = 0
    if order == "sorted":
        values.sort()
    if order == "misleading":
        values[::5] += 100  # where the sample looks
    for sparsity in (0.001, 0.5, 0.8, 0.975, 0.9999):
        expected = np.zeros(values.size, bool)
        expected[np.argsort(values, kind="stable")[round(sparsity * values.size) :]] = True
        np.testing.assert_array_equal(magnitude_mask(values, sparsity), expected)


def test_the_mask_is_that_of_tfmot():
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl

    kernel = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    for sparsity in (0.1, 0.5, 0.83):
        pruning = pruning_impl.Pruning(lambda: 0, [], lambda step, s=sparsity: (True, tf.constant(s)), (1, 1), "AVG")
        _, reference = pruning._update_mask(tf.constant(kernel))
        np.testing.assert_array_equal(magnitude_mask(kernel, sparsity), reference.numpy().astype(bool))


@settings(deadline=None)
@given(shapes=shapes, sparsity=st.floats(0, 0.99))
def test_erk_keeps_the_total_and_empties_nothing(shapes, sparsity):
    sizes = np.array([math.prod(shape) for shape in shapes])
    zeros = np.array(
        [number_of_zeros(size, s) for size, s in zip(sizes, erk_sparsities(shapes, sparsity), strict=True)]
    )
    assert (zeros < sizes).all()
    assert (zeros >= 0).all()
    promised = number_of_zeros(int(sizes.sum()), sparsity)
    assert zeros.sum() == min(promised, int((sizes - 1).sum()))


@settings(deadline=None)
@given(shapes=shapes, sparsity=st.floats(0.05, 0.9))
def test_erk_densities_follow_the_formula(shapes, sparsity):
    """Evci et al. 2020: density proportional to sum(shape) / prod(shape), or 1."""
    densities = 1 - np.array(erk_sparsities(shapes, sparsity))
    sizes = np.array([math.prod(shape) for shape in shapes])
    scores = np.array([sum(shape) for shape in shapes]) / sizes
    sparse = densities < 1 - 1.5 / sizes
    assume(sparse.sum() >= 2)
    share = densities[sparse] / scores[sparse]
    tolerance = 2 / (sizes[sparse] * scores[sparse])  # one weight of rounding, either way
    assert share.max() - share.min() <= 2 * tolerance.max()


def test_distribute():
    assert distribute([(2, 2), (3, 3)], 0.25, "uniform") == [0.25, 0.25]
    assert distribute([(3, 3, 3, 16), (3, 3, 64, 64)], 0.5, "erk")[0] == 0.0


@pytest.mark.parametrize("sparsity", [-0.1, 1.0])
def test_sparsity_out_of_range(sparsity):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        magnitude_mask(np.ones(4), sparsity)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_weights_that_are_not_finite(bad, sparsity):
    with pytest.raises(ValueError, match="weights, 1 of 4 values"):
        magnitude_mask(np.array([1.0, bad, 2.0, 3.0], np.float32), sparsity)


@settings(deadline=None)
@given(weights=weights, sparsity=fractions)
def test_many_zeros_do_not_change_the_choice(weights, sparsity):
    """Equal values are set aside before np.partition, which crawls over them."""
    weights = np.where(np.abs(weights) < 3, 0, weights)
    zeros = number_of_zeros(weights.size, sparsity)
    expected = np.ones(weights.size, bool)
    expected[np.argsort(np.abs(weights).ravel(), kind="stable")[:zeros]] = False
    np.testing.assert_array_equal(magnitude_mask(weights, sparsity).ravel(), expected)


def test_a_kept_weight_of_score_zero_brings_no_pruned_one_back():
    """Saliency is zero behind a dead unit; under one threshold the weights of all layers tie there."""
    pruned = [np.array([False, False, False]), np.array([True, True, True, False])]
    scores = [np.array([0.0, 0.0, 1.0], np.float32), np.array([0.0, 0.0, 0.0, 1.0], np.float32)]
    masks = global_masks(scores, 3 / 7, UNSTRUCTURED, pruned=pruned, outputs=[(-1,)] * 2, names=["", ""])
    np.testing.assert_array_equal(masks[0], ~pruned[0])
    np.testing.assert_array_equal(masks[1], ~pruned[1])


several = st.lists(weights, min_size=1, max_size=4)


@settings(deadline=None)
@given(scores=several, first=fractions, second=fractions)
def test_one_threshold_for_all_weights(scores, first, second):
    scores = [np.abs(one) for one in scores]
    names, outputs = [""] * len(scores), [(-1,)] * len(scores)
    low, high = sorted([first, second])
    before = global_masks(scores, low, UNSTRUCTURED, pruned=[None] * len(scores), outputs=outputs, names=names)
    after = global_masks(scores, high, UNSTRUCTURED, pruned=[~m for m in before], outputs=outputs, names=names)
    total = sum(one.size for one in scores)
    for masks, sparsity in ((before, low), (after, high)):
        zeros = sum(np.count_nonzero(~mask) for mask in masks)
        assert zeros == min(number_of_zeros(total, sparsity), total - len(scores))
        assert all(mask.any() for mask in masks)
        normalized = [one / max(np.linalg.norm(one.astype(np.float64)), 1e-30) for one in scores]
        best = [mask & (one == one.max()) for one, mask in zip(normalized, masks, strict=True)]  # kept in any case
        kept = [one[mask & ~top] for one, mask, top in zip(normalized, masks, best, strict=True)]
        pruned = [one[~mask] for one, mask in zip(normalized, masks, strict=True)]
        kept, pruned = np.concatenate(kept), np.concatenate(pruned)
        if kept.size and pruned.size:
            assert kept.min() >= pruned.max() * (1 - 1e-5)
    assert not any(np.any(new & ~old) for new, old in zip(after, before, strict=True))
