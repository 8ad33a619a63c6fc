"""Tiles: no image shows where it was cut."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from segopt_callbacks.arrays import axis_tiles, blended

SIDES = st.integers(1, 40)


@given(length=SIDES, tile=SIDES, fraction=st.floats(0, 0.95))
@settings(max_examples=200, deadline=None)
def test_the_shares_of_each_place_add_up_to_one_and_neighbours_overlap(length, tile, fraction):
    overlap = int(fraction * tile)
    total = np.zeros(max(length, tile))
    tiles = axis_tiles(length, tile, overlap)
    for start, shares in tiles:
        assert shares.shape == (tile,)
        assert (shares >= 0).all()
        total[start : start + tile] += shares
    np.testing.assert_allclose(total, 1, atol=1e-6)
    starts = [start for start, _ in tiles]
    assert all(tile - overlap >= after - before > 0 for before, after in itertools.pairwise(starts))


def test_shares_fall_to_the_border_of_a_tile_but_not_to_that_of_the_image():
    (_, first), (_, second) = axis_tiles(24, 16, 8)
    np.testing.assert_allclose(first, [1] * 8 + [1, 1, 0.875, 0.625, 0.375, 0.125, 0, 0], atol=1e-6)
    np.testing.assert_allclose(second, first[::-1], atol=1e-6)


@pytest.mark.parametrize("overlap", [-1, 8])
def test_an_overlap_is_a_part_of_a_tile(overlap):
    with pytest.raises(ValueError, match="less than the tile"):
        axis_tiles(20, 8, overlap)


def whole(image, run, tile, overlap):
    parts = list(blended(image.shape[:2], lambda rows, columns: image[rows, columns], run, tile, overlap))
    assert [top for top, _ in parts] == list(np.cumsum([0, *(len(rows) for _, rows in parts[:-1])]))
    return np.concatenate([rows for _, rows in parts])


@given(st.integers(1, 50), st.integers(1, 50), st.integers(2, 16), st.integers(2, 16), st.floats(0, 0.9), st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_told_of_each_pixel_alone_is_the_same_with_and_without_tiles(height, width, down, across, part, data):
    image = np.random.default_rng(data.draw(st.integers(0, 9))).random((height, width, 3)).astype("float32")
    answer = whole(image, lambda one: 3 * one[..., :2] - 1, (down, across), (int(part * down), int(part * across)))
    np.testing.assert_allclose(answer, 3 * image[..., :2] - 1, atol=1e-5)
    ids = whole(image, lambda one: (9 * one[..., 0]).astype("int64"), (down, across), (int(part * down), 1))
    np.testing.assert_array_equal(ids, (9 * image[..., 0]).astype("int64"))


def test_what_sees_two_pixels_around_each_is_the_same_with_and_without_tiles():
    image = np.random.default_rng(1).random((60, 75, 1)).astype("float32")

    def mean_of_25(pixels):  # zeros around each tile, as a convolution has them
        return uniform_filter(pixels, (5, 5, 1), mode="constant")

    without = mean_of_25(image)
    assert np.abs(whole(image, mean_of_25, (20, 20), (0, 0)) - without).max() > 0.15
    np.testing.assert_allclose(whole(image, mean_of_25, (20, 20), (8, 8)), without, atol=1e-6)


def test_ids_are_those_of_the_nearest_tile():
    image, count = np.zeros((4, 12, 1)), iter(range(9))
    ids = whole(image, lambda pixels: np.full(pixels.shape[:2], next(count)), (4, 8), (0, 4))
    np.testing.assert_array_equal(ids, np.repeat([[0] * 6 + [1] * 6], 4, axis=0))


def test_an_answer_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 2, 1\) for a tile of \(4, 4\)"):
        whole(np.zeros((8, 8, 1)), lambda pixels: pixels[::2, ::2], (4, 4), (0, 0))


def test_memory_is_that_of_a_few_rows():
    height, width, classes = 6000, 256, 16
    image = np.zeros((height, width, 1), np.uint8)
    tracemalloc.start()
    for _ in blended(
        (height, width),
        lambda rows, columns: image[rows, columns],
        lambda pixels: np.zeros((*pixels.shape[:2], classes), np.float32),
        (64, 64),
        (16, 16),
    ):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * height * width * classes * 4
