"""Whole images and masks -> tiles of one size, in graph."""

from __future__ import annotations

import tensorflow as tf


def cut(data: tf.data.Dataset, tile: int, ignored: int, *, seed: int | None = None) -> tf.data.Dataset:
    """Cuts each image, and its mask with it, into as many square tiles as cover it.

    An image that tiles do not fill is continued by its mirror image, and its mask by the ignored class: every pixel
    counts once.

    Args:
        data: unbatched images `(height, width, bands)` and masks `(height, width)`, of any size.
        tile: height and width of a tile, in pixels.
        ignored: id of the ignored class.
        seed: for random places, other ones each epoch; `None` for places side by side.

    Returns:
        unbatched dataset of images `(tile, tile, bands)` and masks `(tile, tile)`.
    """
    seeds = tf.data.Dataset.random(seed=(seed or 0) + 2, rerandomize_each_iteration=seed is not None).batch(2)

    def tiles(pair: tuple[tf.Tensor, tf.Tensor], drawn: tf.Tensor) -> tf.data.Dataset:
        size = tf.shape(pair[1])
        count = -(-size // tile)
        if seed is None:
            image, mask = _continued(*pair, count * tile, ignored)
            corners = tile * tf.stack(tf.meshgrid(tf.range(count[0]), tf.range(count[1]), indexing="ij"), axis=-1)
            corners = tf.reshape(corners, (-1, 2))
        else:
            image, mask = _continued(*pair, tf.maximum(size, tile), ignored)
            room = tf.cast(tf.maximum(size - tile, 0) + 1, tf.float32)
            corners = tf.cast(tf.random.stateless_uniform((count[0] * count[1], 2), drawn) * room, tf.int32)

        def crop(corner: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            top, left = corner[0], corner[1]
            pixels, ids = (one[top : top + tile, left : left + tile] for one in (image, mask))
            return tf.ensure_shape(pixels, (tile, tile, image.shape[-1])), tf.ensure_shape(ids, (tile, tile))

        return tf.data.Dataset.from_tensor_slices(corners).map(crop)

    return tf.data.Dataset.zip((data, seeds)).flat_map(tiles)


def _continued(image: tf.Tensor, mask: tf.Tensor, size: tf.Tensor, ignored: int) -> tuple[tf.Tensor, tf.Tensor]:
    """An image continued to a size by its mirror image, and its mask by the ignored class."""
    have = tf.shape(mask)
    for axis in (0, 1):
        places = tf.range(size[axis]) % (2 * have[axis])
        image = tf.gather(image, tf.minimum(places, 2 * have[axis] - 1 - places), axis=axis)
    missing = size - have
    mask = tf.pad(mask, [[0, missing[0]], [0, missing[1]]], constant_values=tf.cast(ignored, mask.dtype))
    return image, mask
