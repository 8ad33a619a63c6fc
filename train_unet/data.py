"""A checked data folder -> `tf.data` datasets of uint8 images and masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from train_unet.folder import DataFolder
from train_unet.reading import MAPS, read_ids, read_map
from train_unet.records import decode_pair
from train_unet.tiles import cut

COLOUR_GAIN = 0.1  # largest change of a colour channel, and of the whole image, as a fraction of its values
CACHED_BYTES = 1 << 30  # decoded images of a split are kept in memory up to here, else decoded anew each epoch
SHUFFLED_RECORDS = 1024  # encoded pairs of a data set that is not kept, among which the next one is drawn
SHUFFLED_BYTES = 1 << 27  # of tiles among which the next one is drawn
Decoder = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def datasets(folder: DataFolder, *, batch_size: int = 8, seed: int = 0) -> dict[str, tf.data.Dataset]:
    """Datasets for `fit` and `evaluate`; what fits into `CACHED_BYTES` is decoded once and kept in memory as uint8.

    Args:
        folder: what `train_unet.folder.open_folder` returns.
        batch_size: images in a batch. Training batches are always full, so that the compiled step has one shape (the
            rest of an epoch is drawn again in another); the last batch of another split may be smaller.
        seed: of the order and the augmentation of the training images.

    Returns:
        `"train"` (shuffled, flipped, turned and relit anew each epoch), `"val"` and `"test"`: batches of images
        `(batch, height, width, bands)` uint8 and masks `(batch, height, width)` uint8. The ignored class has the id
        `len(folder.classes)`. Where images are cut, an epoch has as many tiles as cover them: of the training images
        at random places, other ones each epoch, and of the others side by side.
    """
    height, width = folder.image_size
    count = folder.tiles("train")
    train = relight(augment(shuffled(folder, "train", seed=seed), seed=seed, turn=height == width), seed=seed)
    train = train.batch(min(batch_size, count), drop_remainder=True)
    train = train.apply(tf.data.experimental.assert_cardinality(count // min(batch_size, count)))
    plain = {split: load(folder, split) for split in folder.pairs if split != "train"}
    batches = {"train": train, **{split: data.batch(batch_size) for split, data in plain.items()}}
    return {split: data.prefetch(tf.data.AUTOTUNE) for split, data in batches.items()}


def shuffled(folder: DataFolder, split: str, *, seed: int) -> tf.data.Dataset:
    """The pairs of one split as `load` gives them, in another order each epoch; where images are cut, at random places.

    Args:
        folder: what `train_unet.folder.open_folder` returns.
        split: `"train"`, `"val"` or `"test"`.
        seed: of order and places.
    """
    data = _whole(folder, split, seed=seed)
    if not folder.is_tiled:
        return data
    height, width = folder.image_size
    fitting = max(SHUFFLED_BYTES // (height * width * (folder.reading.count + 1)), 1)
    tiles = cut(data, height, len(folder.classes), seed=seed)
    return tiles.shuffle(min(folder.tiles(split), fitting), seed=seed, reshuffle_each_iteration=True)


def load(folder: DataFolder, split: str) -> tf.data.Dataset:
    """The pairs of one split in the order of split.csv, decoded in parallel; where images are cut, their tiles.

    Args:
        folder: what `train_unet.folder.open_folder` returns.
        split: `"train"`, `"val"` or `"test"`.

    Returns:
        unbatched dataset of images `(height, width, bands)` uint8 and masks `(height, width)` uint8.
    """
    data = _whole(folder, split)
    if folder.is_tiled:
        data = cut(data, folder.image_size[0], len(folder.classes))
        data = data.apply(tf.data.experimental.assert_cardinality(folder.tiles(split)))
    return data


def load_whole(folder: DataFolder, split: str) -> tf.data.Dataset:
    """The pairs of one split as `load` gives them, but never cut: each as large as it is."""
    return _whole(folder, split)


def _whole(folder: DataFolder, split: str, seed: int | None = None) -> tf.data.Dataset:
    """The decoded pairs of a split, shuffled anew each epoch where there is a seed; in memory if they fit."""
    decode, count = _decoder(folder), len(folder.pairs[split])
    if folder.decoded_bytes(split) <= CACHED_BYTES:
        data = _encoded(folder, split).map(decode, num_parallel_calls=tf.data.AUTOTUNE).cache()
        return data if seed is None else data.shuffle(count, seed=seed, reshuffle_each_iteration=True)
    return _encoded(folder, split, seed).map(decode, num_parallel_calls=tf.data.AUTOTUNE)


def _encoded(folder: DataFolder, split: str, seed: int | None = None) -> tf.data.Dataset:
    """What `_decoder` takes: names of files, or what records hold."""
    count = len(folder.pairs[split])
    if folder.records:
        return folder.records.encoded(split, seed=seed, buffer=min(count, SHUFFLED_RECORDS))
    images, masks = zip(*folder.pairs[split], strict=True)
    names = tf.data.Dataset.from_tensor_slices((_strings(images), _strings(masks)))
    return names if seed is None else names.shuffle(count, seed=seed, reshuffle_each_iteration=True)


def _decoder(folder: DataFolder) -> Decoder:
    """File names of an image and its mask, or what records hold -> their pixels."""
    size = (None, None) if folder.is_tiled else folder.image_size
    read = folder.records.decoded if folder.records else _file_decoder(folder)

    def decode(image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, ids = read(image, mask)
        pixels = tf.ensure_shape(pixels, (*size, folder.reading.count))
        return pixels, tf.ensure_shape(_close_gap(ids, folder), size)

    return decode


def _file_decoder(folder: DataFolder) -> Decoder:
    """File names of an image and its mask -> their pixels."""
    pairs = [pair for split in folder.pairs.values() for pair in split]
    is_plain = all(folder.reading.is_plain(image) and mask.suffix not in MAPS for image, mask in pairs)

    def read(image: bytes, mask: bytes) -> tuple[np.ndarray, np.ndarray]:
        return read_map(Path(image.decode()), folder.reading), read_ids(Path(mask.decode()))

    def decode(image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if is_plain:
            return decode_pair(tf.io.read_file(image), tf.io.read_file(mask))
        return tf.numpy_function(read, [image, mask], [tf.uint8, tf.uint8])

    return decode


def _strings(paths: tuple[Path, ...]) -> list[str]:
    return [str(path) for path in paths]


def _close_gap(ids: tf.Tensor, folder: DataFolder) -> tf.Tensor:
    """The ignored id becomes the last one, those above it move down: a model has no logit for it."""
    if folder.ignore is None or folder.ignore == len(folder.classes):
        return ids
    moved = tf.where(ids > folder.ignore, ids - 1, ids)
    return tf.where(ids == folder.ignore, tf.cast(len(folder.classes), tf.uint8), moved)


def augment(data: tf.data.Dataset, *, seed: int, turn: bool = True) -> tf.data.Dataset:
    """Random flips and quarter turns: the eight symmetries of the square, each as likely.

    Args:
        data: unbatched images `(height, width, bands)` and masks `(height, width)`.
        seed: the same seed gives the same sequence of symmetries.
        turn: with quarter turns; without, as for images that are no squares, half turns and flips remain.

    Returns:
        a dataset of the same shapes; the mask always takes the same symmetry as its image.
    """
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)

    def transform(pair: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, mask = pair
        draws = tf.random.stateless_uniform((3,), seed, 0, 2, tf.int32)
        both = tf.concat([image, mask[..., None]], axis=-1)  # (height, width, bands + 1)
        both = tf.cond(draws[0] > 0, lambda: both[::-1], lambda: both)
        both = tf.cond(draws[1] > 0, lambda: both[:, ::-1], lambda: both)
        if turn:
            both = tf.cond(draws[2] > 0, lambda: tf.transpose(both, (1, 0, 2)), lambda: both)
        both = tf.ensure_shape(both, image.shape[:2].concatenate(image.shape[2] + 1))
        return both[..., :-1], both[..., -1]

    return tf.data.Dataset.zip((data, seeds)).map(transform, num_parallel_calls=tf.data.AUTOTUNE)


def relight(data: tf.data.Dataset, *, seed: int, gain: float = COLOUR_GAIN) -> tf.data.Dataset:
    """Multiplies each image, and each of its channels, by random factors: other light, haze and seasons.

    Args:
        data: unbatched images `(height, width, bands)` uint8 and masks.
        seed: the same seed gives the same sequence of factors.
        gain: factors are drawn evenly from `[1 - gain, 1 + gain]`.

    Returns:
        a dataset of the same shapes; the masks are as they were.
    """
    seeds = tf.data.Dataset.random(seed=seed + 1, rerandomize_each_iteration=True).batch(2)

    def transform(pair: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, mask = pair
        factors = tf.random.stateless_uniform((1 + image.shape[2],), seed, 1.0 - gain, 1.0 + gain)
        relit = tf.round(tf.cast(image, tf.float32) * factors[0] * factors[1:])
        return tf.cast(tf.minimum(relit, 255.0), tf.uint8), mask

    return tf.data.Dataset.zip((data, seeds)).map(transform, num_parallel_calls=tf.data.AUTOTUNE)
