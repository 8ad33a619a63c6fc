"""The example on which a file's classes differ most from the model's. Pure NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDEST = 256  # pixels of what is kept, in either direction


@dataclass(frozen=True)
class Disagreement:
    """One example, small enough to be kept for every format.

    Attributes:
        example: its number in the data, from 0.
        equal_argmax: fraction of its pixels whose class is the same, in [0, 1).
        classes: how many there are.
        image: the input, `(height, width, channels)`, as it was fed.
        expected: classes by the model in memory, `(height, width)`.
        answer: classes by the file.
        truth: classes by the data, where they have a class for each pixel, else `None`.
        differs: where any pixel differs that this one stands for.
    """

    example: int
    equal_argmax: float
    classes: int
    image: np.ndarray
    expected: np.ndarray
    answer: np.ndarray
    differs: np.ndarray
    truth: np.ndarray | None = None


def worse(
    kept: Disagreement | None,
    start: int,
    inputs: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    answers: Sequence[np.ndarray],
    classes: Sequence[bool],
    targets: Sequence[np.ndarray | None] = (),
) -> Disagreement | None:
    """The worst example so far: the one that is kept, or one of a batch.

    Args:
        kept: the worst of earlier batches.
        start: number of the batch's first example.
        inputs: of the batch; the first of shape `(batch, height, width, channels)` is the image.
        expected: the model's outputs.
        answers: the file's outputs, of the same shapes.
        classes: which of them have classes; the first of that rank is shown.
        targets: of the data, one for each output; empty where there are none.

    Returns:
        `kept` where nothing in the batch is worse, and where there are no images or no classes.

    Example:
        >>> image, logits = np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2, 2), np.float32)
        >>> other = logits.copy()
        >>> other[0, 0, 0, 1] = 1
        >>> worse(None, 7, [image], [logits], [other], [True]).equal_argmax
        0.75
    """
    image = next((one for one in inputs if one.ndim == 4), None)
    shown = (number for number, one in enumerate(expected) if classes[number] and one.ndim == 4)
    output = next(shown, None)
    if image is None or output is None:
        return kept
    wanted, found = expected[output].argmax(-1), answers[output].argmax(-1)
    shares = (wanted == found).reshape(len(wanted), -1).mean(axis=1)
    index = int(shares.argmin())
    target = targets[output] if targets else None
    if shares[index] >= (1.0 if kept is None else kept.equal_argmax):
        return kept
    return Disagreement(
        start + index,
        float(shares[index]),
        expected[output].shape[-1],
        _small(image[index]),
        _small(wanted[index]),
        _small(found[index]),
        _any_small(wanted[index] != found[index]),
        None if target is None else _small_truth(target[index], expected[output].shape[1:]),
    )


def _small_truth(target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Classes out of a target of one example: numbers, or one channel for each class; `None` where it has neither."""
    height, width, classes = shape
    if target.shape == (height, width, classes) and classes > 1:
        return _small(target.argmax(-1))
    if target.shape not in ((height, width), (height, width, 1)) or not np.isfinite(target).all():
        return None
    return _small(target.reshape(height, width).astype(np.int64))


def _step(shape: tuple[int, ...]) -> int:
    return -(-max(shape[:2]) // WIDEST)


def _small(values: np.ndarray) -> np.ndarray:
    # A copy: a view would keep the whole batch in memory.
    step = _step(values.shape)
    return values[::step, ::step].copy()


def _any_small(flags: np.ndarray) -> np.ndarray:
    """True where any pixel is that a pixel of the small picture stands for: single ones stay visible."""
    step = _step(flags.shape)
    height, width = (-(-size // step) for size in flags.shape)
    padded = np.zeros((height * step, width * step), bool)
    padded[: flags.shape[0], : flags.shape[1]] = flags
    return np.any(padded.reshape(height, step, width, step), axis=(1, 3))
