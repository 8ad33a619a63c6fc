"""Data for an export, from an `.npz` file or a folder of images."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segopt_callbacks.export.intake.wrong import CommandError, told
from segopt_callbacks.sizes import CorruptFileError, require_sound_zip

_RULE = "`--data` must be a folder of images, or an .npz file of an array x and, if there are any, y"
_MEMBERS = {"x.npy", "y.npy"}


def read_data(path: Path, scale: float | None = None) -> dict[str, Any]:
    """The arguments of `export_model` that hand over what is at `path`.

    Args:
        path: an `.npz` file of an array `x` (inputs, batch first) and, if there are any, `y`; or a folder of images.
        scale: what `x` is multiplied by.

    Raises:
        CommandError: for any other content.
    """
    x, y = (_images(path), None) if path.is_dir() else _arrays(path)
    if scale is not None:
        x = x.astype("float32") * scale
    return {"representative_dataset": _each(x)} if y is None else {"evaluation_data": (x, y)}


def _each(x: Any) -> Callable[[], Any]:
    return lambda: ([x[index : index + 1]] for index in range(len(x)))


def _arrays(path: Path) -> tuple[Any, Any]:
    import numpy as np

    try:
        _require_plain(path)
        with np.load(path, allow_pickle=False) as content:
            x, y = content["x"], content.get("y")
    except Exception as error:  # damaged files were seen to raise 12 kinds, from zlib's and zipfile's to tokenize's
        raise CommandError(f"{_RULE}. Received: {path} ({told(error)}).") from error
    for name, value in (("x", x), ("y", y)):
        if value is not None and value.dtype.kind not in "biuf":
            raise CommandError(f"`--data` must hold numbers. Received: {path}, with {name} of dtype {value.dtype}.")
    if not x.ndim or not len(x) or (y is not None and (not y.ndim or len(y) != len(x))):
        received = f"x of shape {x.shape}" + ("" if y is None else f", y of shape {y.shape}")
        raise CommandError(f"`--data` must hold examples, as many in y as in x. Received: {received}.")
    return x, y


def _require_plain(path: Path) -> None:
    """Raises unless the file is a zip of `x.npy` and, if there is any, `y.npy`, which fit into memory."""
    with zipfile.ZipFile(path) as archive:
        require_sound_zip(archive, highest_ratio=math.inf)  # masks compress a thousand times; memory is the limit
        names = set(archive.namelist())
        if "x.npy" not in names or names - _MEMBERS:
            raise CorruptFileError(f"it holds {', '.join(sorted(names)[:5]) or 'nothing'}")
        claimed = sum(member.file_size for member in archive.infolist())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if claimed > memory:
        raise CorruptFileError(f"its arrays take {claimed:,} bytes, and this machine has {memory:,} of memory")


def _images(path: Path) -> Any:
    """The images of a folder, `(count, height, width, 3)` uint8; at most as many as an export reads."""
    import numpy as np
    import tensorflow as tf

    from segopt_callbacks.data import EXAMPLE_LIMIT

    folder = path / "images" if (path / "images").is_dir() else path
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not files:
        raise CommandError(f"`--data` must hold images (.png, .jpg). Received: {folder}, without any.")
    images: list[Any] = []
    for file in files[:EXAMPLE_LIMIT]:
        try:
            images.append(tf.io.decode_image(file.read_bytes(), channels=3, expand_animations=False).numpy())
        except tf.errors.InvalidArgumentError as error:
            raise CommandError(f"An image must be a PNG or JPEG file. Received: {file} ({told(error)}).") from error
        if images[-1].shape != images[0].shape:
            raise CommandError(
                f"Images must have one size; crop them. Received: {files[0].name} of shape {images[0].shape}, "
                f"{file.name} of shape {images[-1].shape}."
            )
    return np.stack(images)
