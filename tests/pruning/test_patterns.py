import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from segopt_callbacks import block, channel, n_of_m
from segopt_callbacks.pruning.masks import global_masks, layer_mask, number_of_zeros
from segopt_callbacks.pruning.patterns import UNSTRUCTURED, as_matrix, from_matrix

PATTERNS = (UNSTRUCTURED, block(1, 4), block(3, 2), block(2, 2, pooling="max"), n_of_m(), n_of_m(1, 3), channel())
OUTPUTS = ((-1,), (-2,), (-2, -1))
scores = npst.arrays(
    np.float32, npst.array_shapes(min_dims=2, max_dims=5, max_side=7), elements=st.floats(0, 10, width=16)
)
fractions = st.floats(0, 1, exclude_max=True)


def zeros(mask):
    return int(np.count_nonzero(~mask))


@settings(deadline=None)
@given(scores=scores, sparsity=fractions, pattern=st.sampled_from(PATTERNS), outputs=st.sampled_from(OUTPUTS))
def test_the_number_of_zeros_is_the_nearest_that_the_units_allow(scores, sparsity, pattern, outputs):
    mask = layer_mask(scores, sparsity, pattern, outputs=outputs)
    units = pattern.units(scores, outputs)
    sizes = np.ones(units.scores.size, int) if units.sizes is None else units.sizes
    assert mask.shape == scores.shape
    assert sizes.sum() == scores.size
    assert mask.any()
    asked = number_of_zeros(scores.size, sparsity)
    assert abs(zeros(mask) - asked) <= (sizes.max() + 1) // 2 or zeros(mask) == scores.size - sizes.max()
    if units.sizes is None:
        assert zeros(mask) == asked


@settings(deadline=None)
@given(
    scores=scores,
    both=st.tuples(fractions, fractions),
    pattern=st.sampled_from((*PATTERNS, channel(multiple=2), channel(multiple=3))),
    outputs=st.sampled_from(OUTPUTS),
)
def test_masks_nest_as_sparsity_grows(scores, both, pattern, outputs):
    before = layer_mask(scores, min(both), pattern, outputs=outputs)
    changed = np.random.default_rng(0).permutation(scores.ravel()).reshape(scores.shape)  # training goes on
    after = layer_mask(changed * before, max(both), pattern, pruned=~before, outputs=outputs)
    assert not np.any(after & ~before)


@settings(deadline=None)
@given(scores=scores, sparsity=fractions, pattern=st.sampled_from((PATTERNS[1], PATTERNS[2], PATTERNS[3], channel())))
def test_units_go_whole_and_the_best_stay(scores, sparsity, pattern):
    mask = layer_mask(scores, sparsity, pattern)
    units = pattern.units(scores)
    kept = units.all_of(mask)
    np.testing.assert_array_equal(kept, ~units.all_of(~mask))
    if kept.any() and not kept.all():
        assert units.scores[kept].min() >= units.scores[~kept].max()


@settings(deadline=None)
@given(scores=scores, sparsity=fractions)
def test_in_each_group_the_largest_stay(scores, sparsity):
    mask = layer_mask(scores, sparsity, n_of_m(2, 4))
    rows = np.moveaxis(scores, -2, -1).reshape(-1, scores.shape[-2])
    kept = np.moveaxis(mask, -2, -1).reshape(rows.shape)
    for start in range(0, rows.shape[1], 4):
        for row, keep in zip(rows[:, start : start + 4], kept[:, start : start + 4], strict=True):
            if keep.any() and not keep.all():
                assert row[keep].min() >= row[~keep].max()
            if sparsity >= 0.5:
                assert keep.sum() <= 2


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("block_size", [(1, 4), (4, 1), (2, 3)])
def test_blocks_are_those_of_tfmot_on_matrices(block_size, pooling):
    """Where they divide: tfmot's pooling pads on both sides, so that its blocks at the rim are not those it expands."""
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl

    kernel = np.random.default_rng(0).normal(size=(24, 36)).astype(np.float32)
    for sparsity in (0.25, 0.5, 0.8):
        pruning = pruning_impl.Pruning(
            lambda: 0,
            [],
            lambda step, s=sparsity: (True, tf.constant(s)),
            list(block_size),
            "AVG" if pooling == "average" else "MAX",
        )
        _, reference = pruning._maybe_update_block_mask(tf.constant(kernel))
        mask = layer_mask(np.abs(kernel), sparsity, block(*block_size, pooling=pooling))
        np.testing.assert_array_equal(mask, reference.numpy().astype(bool))


@pytest.mark.parametrize("shape", [(32, 5), (3, 3, 8, 5), (1, 2, 16, 7)])
def test_two_of_four_is_that_of_tfmot(shape):
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_utils

    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    reference = pruning_utils.m_by_n_sparsity_mask_prepare(
        pruning_utils.generate_m_by_n_mask(pruning_utils.weights_rearrange(tf.constant(kernel)), (2, 4)),
        tf.constant(kernel).shape,
    )
    mask = layer_mask(np.abs(kernel), 0.5, n_of_m(2, 4))
    np.testing.assert_array_equal(mask, reference.numpy().astype(bool))
    assert pruning_utils.is_pruned_m_by_n(tf.constant(kernel * mask), (2, 4))


@settings(deadline=None)
@given(scores=scores, sparsity=fractions, multiple=st.integers(2, 4))
def test_the_channels_that_stay_are_a_multiple_or_all(scores, sparsity, multiple):
    pattern = channel(multiple=multiple)
    mask = layer_mask(scores, sparsity, pattern)
    kept, order = as_matrix(mask, (-1,)).all(0), np.argsort(pattern.units(scores).scores, kind="stable")
    count, plain = kept.sum(), as_matrix(layer_mask(scores, sparsity, channel()), (-1,)).all(0).sum()
    assert count == kept.size or count % multiple == 0
    assert abs(count - plain) <= multiple / 2 or count == min(multiple, kept.size) or kept.size - plain < multiple
    np.testing.assert_array_equal(np.sort(order[kept.size - count :]), np.flatnonzero(kept))  # the best
    again = layer_mask(scores * mask, sparsity, pattern, pruned=~mask)
    np.testing.assert_array_equal(again, mask)


def test_multiples_hold_in_each_layer_where_one_threshold_chooses():
    layers = [np.random.default_rng(seed).uniform(size=(9, 20 + seed)).astype("float32") for seed in range(3)]
    arguments = {"pruned": [None] * 3, "outputs": [(-1,)] * 3, "names": ["a", "b", "c"]}
    masks = global_masks(layers, 0.6, channel(multiple=4), **arguments)
    counts = [int(as_matrix(mask, (-1,)).all(0).sum()) for mask in masks]
    assert all(count % 4 == 0 for count in counts)
    assert 0.5 < 1 - sum(counts) / 63 < 0.7


@pytest.mark.parametrize("multiple", [0, 2.0, True])
def test_a_multiple_is_a_count(multiple):
    with pytest.raises(ValueError, match="`multiple` must be a whole number, at least 1"):
        channel(multiple=multiple)


def test_a_group_that_is_not_full_keeps_what_fits():
    weights = np.arange(1.0, 7.0, dtype=np.float32).reshape(6, 1)  # groups 1 2 3 4 | 5 6
    np.testing.assert_array_equal(layer_mask(weights, 2 / 6, n_of_m(2, 4)).ravel(), [0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(layer_mask(weights, 3 / 6, n_of_m(2, 4)).ravel(), [0, 0, 0, 1, 1, 1])


def test_ties_go_in_memory_order():
    ones = np.ones((4, 4), np.float32)
    assert layer_mask(ones, 0.25, UNSTRUCTURED).tolist() == [[False] * 4, *[[True] * 4] * 3]
    assert layer_mask(ones, 0.25, channel()).tolist() == [[False, True, True, True]] * 4
    assert layer_mask(ones, 0.5, n_of_m(2, 4)).tolist() == [[False] * 4] * 2 + [[True] * 4] * 2
    assert layer_mask(ones, 0.25, block(2, 2)).tolist() == [[False, False, True, True]] * 2 + [[True] * 4] * 2


def test_blocks_at_the_rim_by_brute_force():
    kernel = np.abs(np.random.default_rng(1).normal(size=(3, 1, 5, 7))).astype(np.float32)
    matrix = kernel.reshape(15, 7)
    corners = list(itertools.product(range(0, 15, 4), range(0, 7, 3)))
    cuts = [matrix[row : row + 4, column : column + 3] for row, column in corners]
    expected, pruned = np.ones((15, 7), bool), [0]
    order = sorted(range(len(cuts)), key=lambda index: cuts[index].mean(dtype=np.float64))
    for index in order:
        pruned.append(pruned[-1] + cuts[index].size)
    count = min(range(len(order)), key=lambda k: abs(pruned[k] - round(0.6 * 105)))
    for index in order[:count]:
        row, column = corners[index]
        expected[row : row + 4, column : column + 3] = False
    np.testing.assert_array_equal(layer_mask(kernel, 0.6, block(4, 3)).reshape(15, 7), expected)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_a_transposed_convolution_is_pruned_along_its_own_axes(pattern):
    """Its kernel is (height, width, out, in)."""
    kernel = np.abs(np.random.default_rng(2).normal(size=(3, 2, 5, 8))).astype(np.float32)
    mask = layer_mask(kernel, 0.6, pattern, outputs=(-2,))
    swapped = layer_mask(np.ascontiguousarray(kernel.swapaxes(-1, -2)), 0.6, pattern)
    np.testing.assert_array_equal(mask, swapped.swapaxes(-1, -2))


@given(shape=npst.array_shapes(min_dims=2, max_dims=5, max_side=5), outputs=st.sampled_from(OUTPUTS))
def test_matrix_and_back(shape, outputs):
    weight = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(from_matrix(as_matrix(weight, outputs), shape, outputs), weight)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: block(0, 4), "`rows` must be a whole number.*rows=0"),
        (lambda: block(1, 2.0), "`columns`"),
        (lambda: block(1, 4, pooling="sum"), "one of average, max.*sum"),
        (lambda: n_of_m(4, 4), "smaller than `m`.*n=4, m=4"),
        (lambda: n_of_m(0, 4), "`n` must be"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
