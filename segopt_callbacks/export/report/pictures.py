"""Disagreements as PNG pictures. Needs NumPy alone."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from segopt_callbacks.export.checks import Disagreement
from segopt_callbacks.pages import class_colours

_NO_CLASS = 128
_MARKER = (208, 0, 60)  # of pixels that differ, on the image in pale grey


def drawn(disagreements: Mapping[str, Disagreement], palette: Sequence[Sequence[int]] | None = None) -> dict[str, str]:
    """The pictures of a page.

    Args:
        disagreements: format -> where its file differs most from the model in memory.
        palette: `[red, green, blue]` of each class; default: one that everybody tells apart.

    Returns:
        `input/EXAMPLE`, `truth/EXAMPLE`, `model/EXAMPLE`, `file/FORMAT` and `difference/FORMAT` -> `data:` address of
        a PNG. What formats have in common is there once.
    """
    pictures: dict[str, str] = {}
    chosen = tuple(map(tuple, palette or ()))
    for name, one in disagreements.items():
        colours = np.array(class_colours(one.classes, chosen), np.uint8)
        image = as_rgb(one.image)
        if f"input/{one.example}" not in pictures:
            pictures[f"input/{one.example}"] = data_address(image)
            pictures[f"model/{one.example}"] = data_address(colours[one.expected])
            if one.truth is not None:
                pictures[f"truth/{one.example}"] = data_address(_coloured(one.truth, colours))
        pictures[f"file/{name}"] = data_address(colours[one.answer])
        pictures[f"difference/{name}"] = data_address(_marked(image, one.differs))
    return pictures


def as_rgb(image: np.ndarray) -> np.ndarray:
    """An input of a model as a picture.

    Bytes and values in [0, 1] or [0, 255] are shown as they are; any other range is stretched from its smallest value
    to its largest. Of more than three channels the first three are shown, of two the first.

    Args:
        image: `(height, width, channels)`.

    Returns:
        `(height, width, 3)` uint8.

    Example:
        >>> as_rgb(np.full((1, 1, 1), 0.5)).tolist()
        [[[127, 127, 127]]]
    """
    channels = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    if channels.dtype == np.uint8:
        return channels
    values = np.nan_to_num(channels.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    return ((values - low) * (255 / (high - low))).astype(np.uint8)


def data_address(pixels: np.ndarray) -> str:
    """A picture as an address that holds all of it.

    Args:
        pixels: `(height, width, 3)` uint8.
    """
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"


def png(pixels: np.ndarray) -> bytes:
    """A PNG file (ISO/IEC 15948) of 8-bit RGB.

    Args:
        pixels: `(height, width, 3)` uint8.
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _coloured(classes: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Classes as colours; what is no class, such as 255 of pixels that do not count, is grey."""
    is_class = (classes >= 0) & (classes < len(colours))
    return np.where(is_class[..., None], colours[np.where(is_class, classes, 0)], _NO_CLASS).astype(np.uint8)


def _marked(image: np.ndarray, differs: np.ndarray) -> np.ndarray:
    # The model's answer may be smaller or larger than its input: take the nearest pixel.
    rows = np.arange(differs.shape[0]) * image.shape[0] // differs.shape[0]
    columns = np.arange(differs.shape[1]) * image.shape[1] // differs.shape[1]
    grey = image[rows][:, columns].mean(axis=-1, keepdims=True)
    picture = np.repeat(255 - (255 - grey) * 0.45, 3, axis=-1).astype(np.uint8)
    picture[differs] = _MARKER
    return picture
