"""Kernels whose channels go together are pruned as one."""

import numpy as np
import pytest

from segopt_callbacks.pruning.methods import Method
from segopt_callbacks.pruning.patterns import channel

RANDOM = np.random.default_rng(0)
SHAPES = {"a": (3, 3, 2, 8), "b": (1, 1, 5, 8), "depth": (3, 3, 4, 2), "alone": (3, 3, 2, 8)}
OUTPUTS = {"a": (-1,), "b": (-1,), "depth": (-2, -1), "alone": (-1,)}
WEIGHTS = {path: RANDOM.normal(size=shape).astype("float32") for path, shape in SHAPES.items()}
ORDER = RANDOM.permutation(8)
LABELS = {"a": np.arange(8), "b": ORDER, "depth": np.repeat(np.arange(4), 2)}


def masks(method, sparsity, shapes=SHAPES, labels=LABELS, weights=WEIGHTS, before=None):
    found = method.masks(
        shapes,
        sparsity,
        read=weights.__getitem__,
        read_mask=lambda path: np.ones(SHAPES[path], bool) if before is None else before[path],
        outputs=OUTPUTS,
        labels=labels,
    )
    return {path: mask for path, mask, _ in found}


def channels(mask, path):
    """Which channels a kernel keeps; each is kept or pruned as a whole."""
    columns = mask.reshape(-1, 8)
    assert (columns.all(axis=0) == columns.any(axis=0)).all()
    return columns[0]


@pytest.mark.parametrize("method", [Method(channel()), Method(channel(), scope="global")], ids=["layer", "global"])
def test_channels_of_a_group_go_together(method):
    found = masks(method, 0.5)
    kept = {path: channels(mask, path) for path, mask in found.items()}
    np.testing.assert_array_equal(kept["b"], kept["a"][ORDER])
    # Channels 0 to 3 of `a` have two channels each of `depth`.
    np.testing.assert_array_equal(kept["depth"], np.repeat(kept["a"][:4], 2))
    assert sum(one.sum() for one in kept.values()) < 32


def test_each_group_of_kernels_has_its_share_of_zeros():
    kept = channels(masks(Method(channel()), 0.5)["a"], "a")
    assert kept[:4].sum() == kept[4:].sum() == 2


def test_a_kernel_alone_is_pruned_as_without_groups():
    together, apart = masks(Method(channel()), 0.5), masks(Method(channel()), 0.5, labels={})
    np.testing.assert_array_equal(together["alone"], apart["alone"])
    assert any((together[path] != apart[path]).any() for path in LABELS)


def test_the_scale_of_a_kernel_does_not_matter_to_its_group():
    louder = {**WEIGHTS, "b": 100 * WEIGHTS["b"]}
    for path, mask in masks(Method(channel()), 0.5).items():
        np.testing.assert_array_equal(mask, masks(Method(channel()), 0.5, weights=louder)[path])


def test_all_kernels_of_a_group_count():
    shapes = {path: SHAPES[path] for path in "ab"}
    weights = {"a": np.ones(SHAPES["a"], "float32"), "b": np.ones(SHAPES["b"], "float32")}
    weights["b"][..., [1, 6]] = 0.1
    kept = channels(masks(Method(channel()), 0.25, shapes, weights=weights)["a"], "a")
    assert set(np.flatnonzero(~kept)) == set(ORDER[[1, 6]])


def test_masks_nest_while_the_sparsity_grows():
    first = masks(Method(channel()), 0.25)
    second = masks(Method(channel()), 0.5, weights={path: -one[::-1] for path, one in WEIGHTS.items()}, before=first)
    for path, mask in second.items():
        assert not (mask & ~first[path]).any()


def test_counts_are_multiples():
    kept = masks(Method(channel(multiple=4)), 0.4, {path: SHAPES[path] for path in "ab"})
    assert channels(kept["a"], "a").sum() == channels(kept["b"], "b").sum() == 4


def test_erk_asks_a_group_for_the_mean_of_its_kernels_and_tells_what_they_have():
    shapes = {path: SHAPES[path] for path in "ab"}
    found = list(
        Method(channel(), distribution="erk").masks(
            shapes,
            0.45,
            read=WEIGHTS.__getitem__,
            read_mask=lambda path: np.ones(SHAPES[path], bool),
            outputs=OUTPUTS,
            labels=LABELS,
        )
    )
    assert [target for _, _, target in found] == [0.5, 0.5]


def test_a_value_that_is_not_finite_is_named_with_its_group():
    broken = {**WEIGHTS, "b": np.where(np.arange(8) == 3, np.nan, WEIGHTS["b"])}
    with pytest.raises(ValueError, match=r"'a \+ b"):
        masks(Method(channel()), 0.5, weights=broken)
