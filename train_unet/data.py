"""A checked data folder -> `tf.data` datasets of uint8 images and masks."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from train_unet.folder import DataFolder

COLOUR_GAIN = 0.1  # largest change of a colour channel, and of the whole image, as a fraction of its values


def datasets(folder: DataFolder, *, batch_size: int = 8, seed: int = 0) -> dict[str, tf.data.Dataset]:
    """Datasets for `fit` and `evaluate`, decoded once and kept in memory as uint8.

    Args:
        folder: what `train_unet.folder.open_folder` returns.
        batch_size: images in a batch. Training batches are always full, so that the compiled step has one shape (the
            rest of an epoch is drawn again in another); the last batch of another split may be smaller.
        seed: of the order and the augmentation of the training images.

    Returns:
        `"train"` (shuffled, flipped, turned and relit anew each epoch), `"val"` and `"test"`: batches of images
        `(batch, height, width, 3)` uint8 and masks `(batch, height, width)` uint8. The ignored class has the id
        `len(folder.classes)`.
    """
    plain = {split: load(folder, split) for split in folder.pairs}
    train = plain.pop("train")
    height, width = folder.image_size
    count = len(folder.pairs["train"])
    train = train.shuffle(count, seed=seed, reshuffle_each_iteration=True)
    train = relight(augment(train, seed=seed, turn=height == width), seed=seed)
    train = train.batch(min(batch_size, count), drop_remainder=True)
    batches = {"train": train, **{split: data.batch(batch_size) for split, data in plain.items()}}
    return {split: data.prefetch(tf.data.AUTOTUNE) for split, data in batches.items()}


def load(folder: DataFolder, split: str) -> tf.data.Dataset:
    """The pairs of one split in the order of split.csv, decoded in parallel and cached.

    Args:
        folder: what `train_unet.folder.open_folder` returns.
        split: `"train"`, `"val"` or `"test"`.

    Returns:
        unbatched dataset of images `(height, width, 3)` uint8 and masks `(height, width)` uint8.
    """
    images, masks = zip(*folder.pairs[split], strict=True)
    files = tf.data.Dataset.from_tensor_slices((_strings(images), _strings(masks)))
    height, width = folder.image_size

    def decode(image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = decode_image(tf.io.read_file(image))
        ids = tf.io.decode_png(tf.io.read_file(mask), 1)[..., 0]
        return tf.ensure_shape(pixels, (height, width, 3)), tf.ensure_shape(_close_gap(ids, folder), (height, width))

    return files.map(decode, num_parallel_calls=tf.data.AUTOTUNE).cache()


def decode_image(data: tf.Tensor) -> tf.Tensor:
    """The bytes of a JPEG or PNG file -> `(height, width, 3)` uint8."""
    # The operation decodes both. INTEGER_ACCURATE gives the pixels that other libraries give; the default is faster.
    return tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")


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
        data: unbatched images `(height, width, 3)` and masks `(height, width)`.
        seed: the same seed gives the same sequence of symmetries.
        turn: with quarter turns; without, as for images that are no squares, half turns and flips remain.

    Returns:
        a dataset of the same shapes; the mask always takes the same symmetry as its image.
    """
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)

    def transform(pair: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, mask = pair
        draws = tf.random.stateless_uniform((3,), seed, 0, 2, tf.int32)
        both = tf.concat([image, mask[..., None]], axis=-1)  # (height, width, 4)
        both = tf.cond(draws[0] > 0, lambda: both[::-1], lambda: both)
        both = tf.cond(draws[1] > 0, lambda: both[:, ::-1], lambda: both)
        if turn:
            both = tf.cond(draws[2] > 0, lambda: tf.transpose(both, (1, 0, 2)), lambda: both)
        both = tf.ensure_shape(both, image.shape[:2].concatenate(4))
        return both[..., :3], both[..., 3]

    return tf.data.Dataset.zip((data, seeds)).map(transform, num_parallel_calls=tf.data.AUTOTUNE)


def relight(data: tf.data.Dataset, *, seed: int, gain: float = COLOUR_GAIN) -> tf.data.Dataset:
    """Multiplies each image, and each of its channels, by random factors: other light, haze and seasons.

    Args:
        data: unbatched images `(height, width, 3)` uint8 and masks.
        seed: the same seed gives the same sequence of factors.
        gain: factors are drawn evenly from `[1 - gain, 1 + gain]`.

    Returns:
        a dataset of the same shapes; the masks are as they were.
    """
    seeds = tf.data.Dataset.random(seed=seed + 1, rerandomize_each_iteration=True).batch(2)

    def transform(pair: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, mask = pair
        factors = tf.random.stateless_uniform((4,), seed, 1.0 - gain, 1.0 + gain)
        relit = tf.round(tf.cast(image, tf.float32) * factors[0] * factors[1:])
        return tf.cast(tf.minimum(relit, 255.0), tf.uint8), mask

    return tf.data.Dataset.zip((data, seeds)).map(transform, num_parallel_calls=tf.data.AUTOTUNE)
