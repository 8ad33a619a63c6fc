"""An exported file as a function from the pixels of one tile to its answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export import Exported
from segopt_callbacks.predict.pictures import PictureError

OPEN_TILE = 512  # pixels of a side, where a file leaves it open
BYTES = "uint8"


class SettingError(ValueError):
    """A file or a setting that no image can be used with."""


@dataclass(frozen=True)
class Scaling:
    """What numbers of an image become before they are fed: `factor * number + offset`.

    Attributes:
        factor: one for all bands, or one for each; empty for 1.
        offset: likewise; empty for 0.
    """

    factor: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()

    def apply(self, pixels: np.ndarray, dtype: str) -> np.ndarray:
        """Pixels `(height, width, bands)` as a file takes them; bytes are rounded and clipped.

        Raises:
            PictureError: for bytes that would be made of other numbers without a factor.
        """
        if self.factor or self.offset:
            factor, offset = np.asarray(self.factor or 1.0, np.float32), np.asarray(self.offset or 0.0, np.float32)
            pixels = pixels.astype(np.float32) * factor + offset
            pixels = np.clip(np.round(pixels), 0, 255) if dtype == BYTES else pixels
        elif dtype == BYTES and pixels.dtype != np.uint8:
            raise PictureError(
                "numbers beyond bytes must be scaled to 0 to 255 for this file; pass --scale, such as "
                f"--scale=0.00389105 for all 16 bits. Received: {pixels.dtype}."
            )
        return pixels.astype(dtype)


@dataclass(frozen=True)
class Segmenter:
    """An open file that answers images with classes of their pixels.

    Attributes:
        exported: the file.
        tile: height and width of what it is fed.
        bands: how many it takes; `None` for any number.
        scaling: of pixels.
        output: number of the output that holds the classes.
    """

    exported: Exported
    tile: tuple[int, int]
    bands: int | None
    scaling: Scaling
    output: int

    @property
    def dtype(self) -> str:
        """Of what it is fed."""
        return self.exported.inputs[0].dtype

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """The answer to one tile.

        Args:
            pixels: `(*tile, bands)`, as they stand in the image.

        Returns:
            `(*tile, classes)` floats, or `(*tile,)` class ids.
        """
        fed = self.scaling.apply(pixels, self.dtype)
        answer = self.exported.run([fed[np.newaxis]])[self.output][0]
        if np.issubdtype(answer.dtype, np.integer):
            return answer[..., 0] if answer.ndim == 3 and answer.shape[2] == 1 else answer
        return answer[..., np.newaxis] if answer.ndim == 2 else answer


def segmenter(exported: Exported, *, tile: int | None, scaling: Scaling, output: str | None) -> Segmenter:
    """Checks that a file answers images with masks.

    Args:
        exported: the file.
        tile: side of a tile in pixels, for a file that leaves it open.
        scaling: of pixels.
        output: name of the output that holds the classes; needed where there are several.

    Raises:
        SettingError: for a file that does something else, and for settings that do not fit it.
    """
    if len(exported.inputs) != 1 or len(exported.inputs[0].shape) != 4:
        told = ", ".join(f"{port.name} {_shape(port.shape)}" for port in exported.inputs)
        raise SettingError(f"A file must take one image (batch, height, width, bands). Received: {told}.")
    height, width, bands = exported.inputs[0].shape[1:]
    if tile is not None and any(side not in (None, tile) for side in (height, width)):
        raise SettingError(
            f"This file takes {height}x{width} pixels (height x width); leave `--tile` out. Received: --tile={tile}."
        )
    for name, numbers in (("scale", scaling.factor), ("offset", scaling.offset)):
        if bands is not None and len(numbers) not in (0, 1, bands):
            raise SettingError(f"`--{name}` must be one number, or {bands}. Received: {len(numbers)}.")
    side = tile or OPEN_TILE
    return Segmenter(exported, (height or side, width or side), bands, scaling, _output(exported, output))


def _output(exported: Exported, name: str | None) -> int:
    names = [port.name for port in exported.outputs]
    if name is None and len(names) == 1:
        return 0
    if name not in names:
        raise SettingError(f"`--output` must be one of {', '.join(names)}. Received: {name}.")
    return names.index(name)


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)


def classes_of(answers: np.ndarray, threshold: float) -> np.ndarray:
    """Class ids of blended answers.

    Args:
        answers: `(rows, width, classes)` floats, or `(rows, width)` ids already.
        threshold: above which a pixel is class 1, where answers have one channel.

    Returns:
        `(rows, width)` uint8.

    Raises:
        FormatError: for answers that are not numbers, and for more classes than a byte holds.

    Example:
        >>> classes_of(np.array([[[0.1, 0.9], [0.8, 0.2]]]), 0.5), classes_of(np.array([[[0.7]]]), 0.5)
        (array([[1, 0]], dtype=uint8), array([[1]], dtype=uint8))
    """
    if np.isnan(answers).any():
        raise FormatError("the file answers NaN")
    if answers.ndim == 3:
        answers = answers[..., 0] > threshold if answers.shape[2] == 1 else answers.argmax(axis=-1)
    if answers.max(initial=0) > 255 or answers.min(initial=0) < 0:
        raise FormatError(f"class ids must be 0 to 255; the file answers {answers.min()} to {answers.max()}")
    return answers.astype(np.uint8)
