"""Which images there are, and where the mask of each goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segopt_callbacks.predict.pictures import SUFFIXES, TIFF
from segopt_callbacks.predict.segmenter import SettingError


@dataclass(frozen=True)
class Task:
    """One image.

    Attributes:
        image: its path.
        mask: where its mask goes.
    """

    image: Path
    mask: Path


def tasks(paths: Sequence[str], out: Path) -> list[Task]:
    """Lists images; a folder stands for all images in it and in its folders, which masks keep.

    Args:
        paths: of images and folders.
        out: folder for the masks; what lies in it is no image.

    Raises:
        SettingError: for a path that is nowhere, a folder without images, and two images with one name for their masks.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "north").mkdir()
        >>> for name in ("a.JPG", "north/b.tif", "notes.txt"):
        ...     (folder / name).touch()
        >>> [task.mask.as_posix() for task in tasks([str(folder)], Path("masks"))]
        ['masks/a.png', 'masks/north/b.tif']
    """
    found: list[Task] = []
    for path in map(Path, paths):
        if path.is_dir():
            images = _images(path, out)
            if not images:
                raise SettingError(f"A folder must hold images ({', '.join(SUFFIXES)}). Received: {path}, without any.")
            found += [Task(image, _mask(out / image.relative_to(path))) for image in images]
        elif path.is_file():
            found.append(Task(path, _mask(out / path.name)))
        else:
            raise SettingError(f"An image must exist; correct its path. Received: {path}.")
    of_mask: dict[Path, Path] = {}
    for task in found:
        if (other := of_mask.setdefault(task.mask, task.image)) != task.image:
            raise SettingError(
                f"Images must have names of their own, for their masks do; rename one, or use two folders for masks. "
                f"Received: {other} and {task.image}, both for {task.mask}."
            )
    return [Task(image, mask) for mask, image in of_mask.items()]


def _images(folder: Path, out: Path) -> list[Path]:
    images, masks = [], out.resolve()
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith(".") and Path(place, one).resolve() != masks)
        images += [Path(place, file) for file in sorted(files) if _is_image(file)]
    return images


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def _mask(place: Path) -> Path:
    return place.with_suffix(".tif" if place.suffix.lower() in TIFF else ".png")
