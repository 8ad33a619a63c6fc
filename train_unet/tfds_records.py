"""The pairs of a prepared TFDS data set: read one after the other, and decoded as TFDS decodes them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from train_unet.pairs import PNG_SIGNATURE, size_text
from train_unet.reading import PLAIN, Reading

MOST_FAULTS = 8  # of a split; who finds more in a data set that was made at once builds it again
IDS = 1 << 16  # that a mask can hold


@dataclass(frozen=True)
class TfdsRecords:
    """Encoded pairs of a TFDS data set.

    Attributes:
        builder: of the data set.
        keys: of image and mask.
        splits: `"train"`, `"val"` and `"test"` -> TFDS' splits.
        reading: which bands images have, and how they become bytes.
        classes: `(IDS,)` uint8, the class of each id of the masks; those that do not occur are 0.
    """

    builder: Any
    keys: tuple[str, str]
    splits: Mapping[str, str]
    reading: Reading
    classes: np.ndarray

    def encoded(self, split: str, *, seed: int | None = None, buffer: int = 1) -> tf.data.Dataset:
        import tensorflow_datasets as tfds

        image, mask = self.keys
        features = self.builder.info.features.items()
        images = [key for key, feature in features if isinstance(feature, tfds.features.Image)]
        data = self.builder.as_dataset(
            split=self.splits[split],
            decoders=dict.fromkeys(images, tfds.decode.SkipDecoding()),  # `PartialDecoding` warns of its own code
            read_config=tfds.ReadConfig(try_autocache=False, shuffle_seed=seed, shuffle_reshuffle_each_iteration=True),
            shuffle_files=seed is not None,
        ).map(lambda example: (example[image], example[mask]))
        return data if seed is None else data.shuffle(buffer, seed=seed, reshuffle_each_iteration=True)

    def decoded(self, image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = self.features[0].decode_example(image)
        if self.reading != PLAIN:
            pixels = tf.numpy_function(self._as_bytes, [pixels], tf.uint8)
        return pixels, tf.gather(self.classes, tf.cast(self._ids(mask), tf.int32))

    @property
    def features(self) -> tuple[Any, Any]:
        """Of image and mask."""
        image, mask = (self.builder.info.features[key] for key in self.keys)
        return image, mask

    def places(self, split: str, count: int) -> list[Path]:
        """What faults call its pairs: `SPLIT/NUMBER`."""
        return [Path(self.splits[split]) / str(number) for number in range(count)]

    def _ids(self, mask: tf.Tensor) -> tf.Tensor:
        return self.features[1].decode_example(mask)[..., 0]

    def _as_bytes(self, pixels: np.ndarray) -> np.ndarray:
        """`(height, width, bands)` uint8 of all that an image holds."""
        chosen = pixels[..., [band - 1 for band in self.reading.bands]] if self.reading.bands else pixels
        return self.reading.scaling.apply(chosen, "uint8")

    def scan(self, split: str, faults: list[str]) -> tuple[list[tuple[int, int]], np.ndarray]:
        """Reads a split once: its masks are decoded, of its images the headers are read.

        Args:
            split: `"train"`, `"val"` or `"test"`.
            faults: gets one sentence for each pair that cannot be used.

        Returns:
            `(height, width)` of each image, and `(IDS,)` the pixels of each id.
        """
        sizes, counts, before = list[tuple[int, int]](), np.zeros(IDS, np.int64), len(faults)
        depth = b"\x08" if self.features[1].np_dtype == np.uint8 else b"\x10"
        data = self.encoded(split).map(lambda image, mask: (image, mask, self._ids(mask)), tf.data.AUTOTUNE)
        try:
            for image, mask, ids in data.as_numpy_iterator():
                faults += _faults(f"{self.splits[split]}/{len(sizes)}", image, mask, ids.shape, depth)
                sizes.append(ids.shape)
                counts += np.bincount(ids.ravel(), minlength=IDS)
                if len(faults) - before >= MOST_FAULTS:
                    break
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
            faults.append(f"{self.splits[split]}/{len(sizes)}: is damaged; build the data set again.")
        return sizes, counts


def _faults(place: str, image: bytes, mask: bytes, size: tuple[int, int], depth: bytes) -> list[str]:
    """What is wrong with an encoded image of which the mask has `size`."""
    found = []
    # TFDS expands a palette to other values, and takes a JPEG, whose ids are blurred.
    if mask[:8] != PNG_SIGNATURE or mask[24:26] != depth + b"\x00":
        found.append(f"{place}: the mask must be a grey PNG of class ids; build the data set from such (no palette).")
    try:
        with Image.open(io.BytesIO(image)) as opened:
            have = opened.size[::-1]
    except (UnidentifiedImageError, OSError):
        return [*found, f"{place}: the image cannot be decoded; build the data set again."]
    if have != size:
        sizes = f"image {size_text(have)}, mask {size_text(size)}"
        found.append(f"{place}: the mask must be as large as its image. Received: {sizes}.")
    return found
