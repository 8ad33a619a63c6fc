"""Images -> masks, one after the other, and the time that it takes; one that fails does not stop the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from segopt_callbacks.arrays import blended
from segopt_callbacks.errors import first_line, printable
from segopt_callbacks.pages import class_colours
from segopt_callbacks.predict.listing import Task
from segopt_callbacks.predict.masks import HIGHEST, NO_DATA, write_mask
from segopt_callbacks.predict.pictures import Picture, PictureError, open_picture
from segopt_callbacks.predict.segmenter import Segmenter, classes_of

MEGAPIXEL = 1e6
_EVERY = 10.0  # seconds from one line about progress to the next


@dataclass(frozen=True)
class Settings:
    """How images are cut, and what becomes of answers.

    Attributes:
        overlap: fraction of a tile that neighbours have in common, in [0, 1).
        threshold: above which a pixel is class 1, where answers have one channel.
        bands: numbers of the bands that are read, from 1; empty for all.
        palette: colours of classes, as far as the file tells them.
    """

    overlap: float = 0.25
    threshold: float = 0.5
    bands: tuple[int, ...] = ()
    palette: tuple[tuple[int, ...], ...] = ()


@dataclass
class Tally:
    """What has been done.

    Attributes:
        images: whose masks are written.
        pixels: of these images.
        seconds: that it took, those of images that failed included.
        running: seconds of these in the file's runtime.
        counts: `(256,)`, pixels of each class.
        failed: image -> why it has no mask.
    """

    images: int = 0
    pixels: int = 0
    seconds: float = 0.0
    running: float = 0.0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(HIGHEST, np.int64))
    failed: dict[str, str] = field(default_factory=dict)

    def throughput(self) -> str:
        """A line.

        Example:
            >>> Tally(3, 6_000_000, 2.0, 1.5).throughput()
            '3 images, 6.0 megapixels in 2.0 s: 1.5 images/s, 3 megapixels/s; 0.75 of the time in the runtime'
        """
        seconds, size = max(self.seconds, 1e-9), self.pixels / MEGAPIXEL
        images = "1 image" if self.images == 1 else f"{self.images} images"
        return (
            f"{images}, {size:.1f} megapixels in {self.seconds:.1f} s: {_two_digits(self.images / seconds)} images/s, "
            f"{_two_digits(size / seconds)} megapixels/s; {self.running / seconds:.2f} of the time in the runtime"
        )

    def shares(self, names: Sequence[str]) -> str:
        """A line with the fraction of each class that occurs.

        Example:
            >>> tally = Tally()
            >>> tally.counts[:2] = 3, 1
            >>> tally.shares(["road"])
            'Fraction of pixels: road 0.750, 1 0.250'
        """
        known = max(int(self.counts.sum()), 1)
        there = map(int, self.counts.nonzero()[0])
        called = {index: names[index] if index < len(names) else str(index) for index in there}
        told = (f"{name} {self.counts[index] / known:.3f}" for index, name in called.items())
        return f"Fraction of pixels: {', '.join(told)}"


def run(
    todo: Sequence[Task],
    segmenter: Segmenter,
    settings: Settings,
    *,
    told: Callable[[str], None],
    failed: Callable[[str], None],
) -> Tally:
    """Makes the mask of each image.

    Args:
        todo: the images.
        segmenter: the file.
        settings: how.
        told: is given a line about progress, every ten seconds.
        failed: is given a line about each image that fails.
    """
    tally, start = Tally(), time.monotonic()
    due = start + _EVERY
    for number, task in enumerate(todo):
        try:
            _make(task, segmenter, settings, tally)
        except Exception as error:  # GDAL, Pillow and five runtimes have none in common, and the next image may do
            tally.failed[str(task.image)] = first_line(error)
            failed(printable(f"{task.image}: {first_line(error)}"))
        if time.monotonic() > due and number + 1 < len(todo):
            told(f"{number + 1} of {len(todo)} images")
            due = time.monotonic() + _EVERY
    tally.seconds = time.monotonic() - start
    return tally


def _make(task: Task, segmenter: Segmenter, settings: Settings, tally: Tally) -> None:
    with open_picture(task.image, count=segmenter.bands, bands=settings.bands) as picture:
        ids, classes, seconds = _mask(picture, segmenter, settings)
        known = np.bincount(ids.ravel(), minlength=HIGHEST)
        if picture.is_map:
            known[NO_DATA] = 0
        task.mask.parent.mkdir(parents=True, exist_ok=True)
        colours = class_colours(max(classes, len(settings.palette)), settings.palette)[:HIGHEST]
        write_mask(task.mask, ids, colours, picture.dataset if picture.is_map else None)
    tally.images += 1
    tally.pixels += ids.size
    tally.running += seconds
    tally.counts += known


def _mask(picture: Picture, segmenter: Segmenter, settings: Settings) -> tuple[np.ndarray, int, float]:
    """The class ids of an image, how many classes there are, and seconds in the runtime."""
    seconds, classes = 0.0, 0

    def timed(pixels: np.ndarray) -> np.ndarray:
        nonlocal seconds
        start = time.monotonic()
        answer = segmenter(pixels)
        seconds += time.monotonic() - start
        return answer

    ids = np.empty(picture.size, np.uint8)
    overlap = tuple(int(settings.overlap * side) for side in segmenter.tile)
    for top, answers in blended(picture.size, picture.read, timed, segmenter.tile, (overlap[0], overlap[1])):
        rows = slice(top, top + len(answers))
        found = classes_of(answers, settings.threshold)
        valid = picture.valid(rows)
        highest = int(found.max()) + 1 if answers.ndim == 2 else max(answers.shape[2], 2)
        classes = max(classes, highest)
        if valid is not None:
            if classes > NO_DATA:
                raise PictureError(f"a GeoTIFF must leave {NO_DATA} to pixels without a value. Received: {classes}.")
            found[~valid] = NO_DATA
        ids[rows] = found
    return ids, classes, seconds


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
