"""A data set in TFRecord shards: `train*.tfrecord`, `val*.tfrecord` and `test*.tfrecord` beside classes.json.

A record is a `tf.train.Example` of `image`, the bytes of a JPEG or PNG file, and `mask`, those of an 8-bit grey PNG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import tensorflow as tf

from train_unet.pairs import Pair, compared, decoded_image, decoded_mask

FEATURES = {name: tf.io.FixedLenFeature((), tf.string) for name in ("image", "mask")}
AT_A_TIME = 4  # shards from which records come in turn


class Records(Protocol):
    """Encoded pairs that are read one after the other, and what decodes them."""

    def encoded(self, split: str, *, seed: int | None = None, buffer: int = 1) -> tf.data.Dataset:
        """The encoded pairs of a split; with a seed in another order each epoch.

        Args:
            split: `"train"`, `"val"` or `"test"`.
            seed: of the order; `None` for that in which they are kept.
            buffer: how many encoded pairs the next one is drawn from.
        """

    def decoded(self, image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """An encoded pair -> `(height, width, bands)` and `(height, width)`, both uint8; in graph."""


@dataclass(frozen=True)
class Shards:
    """Pairs in TFRecord files.

    Attributes:
        files: split -> its files.
    """

    files: Mapping[str, list[Path]]

    def encoded(self, split: str, *, seed: int | None = None, buffer: int = 1) -> tf.data.Dataset:
        return encoded(self.files[split], seed=seed, buffer=buffer)

    def decoded(self, image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return decode_pair(image, mask)


def decode_pair(image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The bytes of a JPEG or PNG file, and of a PNG file -> `(height, width, 3)` and `(height, width)` uint8."""
    # The operation decodes both. INTEGER_ACCURATE gives the pixels that other libraries give; the default is faster.
    pixels = tf.io.decode_jpeg(image, 3, dct_method="INTEGER_ACCURATE")
    return pixels, tf.io.decode_png(mask, 1)[..., 0]


def shards_of(root: Path, splits: Sequence[str]) -> dict[str, list[Path]]:
    """The shards of each split in a folder; nothing where there are none at all."""
    shards = {split: sorted(root.glob(f"{split}*.tfrecord*")) for split in splits}
    return shards if any(shards.values()) else {}


def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A record -> the bytes of its image, and those of its mask."""
    features = tf.io.parse_single_example(record, FEATURES)
    return features["image"], features["mask"]


def encoded(shards: Sequence[Path], *, seed: int | None = None, buffer: int = 1) -> tf.data.Dataset:
    """The encoded pairs of some shards, one shard after the other; with a seed in another order each epoch.

    Args:
        shards: the files.
        seed: of the order; `None` for that of the files.
        buffer: how many encoded pairs the next one is drawn from.
    """
    names = tf.data.Dataset.from_tensor_slices([str(shard) for shard in shards])
    if seed is None:
        return tf.data.TFRecordDataset(names).map(parse)
    names = names.shuffle(len(shards), seed=seed, reshuffle_each_iteration=True)
    records = names.interleave(tf.data.TFRecordDataset, cycle_length=AT_A_TIME)
    return records.map(parse).shuffle(buffer, seed=seed, reshuffle_each_iteration=True)


def check_shards(shards: dict[str, list[Path]], classes: int, faults: list[str]) -> dict[str, list[Pair]]:
    """Reads and decodes every record.

    Args:
        shards: split -> files.
        classes: number of classes.
        faults: gets one sentence for each shard that cannot be read, and each split without a record.

    Returns:
        split -> its pairs, each with all its faults; a pair's place is `SHARD/NUMBER`.
    """
    checked = {split: [pair for shard in shards[split] for pair in _check(shard, classes, faults)] for split in shards}
    faults += [f"{split}*.tfrecord: must hold at least one record." for split, pairs in checked.items() if not pairs]
    return checked


def _check(shard: Path, classes: int, faults: list[str]) -> list[Pair]:
    pairs: list[Pair] = []
    try:
        for number, (image, mask) in enumerate(encoded([shard]).as_numpy_iterator()):
            found: list[str] = []
            place = shard / str(number)
            pixels, ids = decoded_image(image, place, found), decoded_mask(mask, place, found)
            pairs.append(compared(place, place, pixels, ids, classes, found))
    except tf.errors.DataLossError:
        faults.append(f"{shard.name}: is damaged behind record {len(pairs)}; write it again.")
    except tf.errors.InvalidArgumentError:
        faults.append(f"{shard.name}/{len(pairs)}: must be an Example of `image` and `mask`, the bytes of two files.")
    return pairs
