"""Weights, and what is known of them, as pictures: grey values of a few hundred pixels. Pure NumPy."""

from __future__ import annotations

import numpy as np

from segopt_callbacks.records import Density

_SMALLEST_SIDE, _LARGEST_SIDE = 256, 512  # pixels, where a matrix has fewer or more entries
_HEIGHT, _SHADE, _LINE, _PAPER = 128, 190, 0, 255  # of a density: pixels, and grey values
_BAR, _GAP, _PANEL = 10, 4, 160  # pixels: height of a bar, below it, and the width of the longest one


def mask_picture(mask: np.ndarray) -> np.ndarray:
    """Draws a mask as a matrix: a column for each output channel, a row for each weight that leads there.

    The rows of a convolution run through the kernel's pixels for the first input channel, then for the next. A side
    of more than 512 entries is drawn in groups, each as dark as the share that it keeps; a short one is enlarged.

    Args:
        mask: True where a weight is kept; `(in, out)` or `(kernel size..., in, out)`.

    Returns:
        `(height, width)` uint8, 0 (black) where every weight is kept, 255 (white) where none is.

    >>> mask_picture(np.array([[True, False], [True, True]]))[::128, ::128]
    array([[  0, 255],
           [  0,   0]], dtype=uint8)
    """
    by_input = np.moveaxis(mask, -2, 0)  # (in, kernel size..., out)
    matrix = by_input.reshape(-1, mask.shape[-1])
    share_kept = _fit_side(_fit_side(matrix, 0), 1)
    return np.rint(255 * (1 - share_kept)).astype(np.uint8)


def _fit_side(matrix: np.ndarray, axis: int) -> np.ndarray:
    length = matrix.shape[axis]
    if length <= _LARGEST_SIDE:
        return np.repeat(matrix, max(1, _SMALLEST_SIDE // length), axis)
    group = -(-length // _LARGEST_SIDE)
    starts = np.arange(0, length, group)
    sums = np.add.reduceat(matrix, starts, axis, dtype=np.float32)
    sizes = np.diff(starts, append=length)
    return sums / np.expand_dims(sizes, 1 - axis)


def density_picture(density: Density, values: np.ndarray) -> np.ndarray:
    """Draws how weights lay before they shared values, and the shared values as lines through it.

    Grey columns are as high as the logarithm of the weights that lie there (a tail of single weights shows beside
    thousands), black lines stand at the shared values. The horizontal axis runs from the lowest weight to the highest.

    Args:
        density: of the weights.
        values: `(clusters,)`, shared now; those that training has moved outside are drawn at the edge.

    Returns:
        `(128, 512)` uint8.

    >>> density_picture(Density.of(np.array([-1.0, 0.0, 0.0, 1.0])), np.array([0.0]))[0, [0, 255, 511]]
    array([255,   0, 255], dtype=uint8)
    """
    columns = np.repeat(density.counts, _LARGEST_SIDE // density.counts.size)
    heights = np.rint(_HEIGHT * np.log1p(columns) / np.log1p(max(columns.max(), 1))).astype(int)
    rows = np.arange(_HEIGHT, 0, -1)[:, np.newaxis]
    picture = np.where(rows <= heights, _SHADE, _PAPER).astype(np.uint8)
    width = density.high - density.low
    places = (np.asarray(values, np.float64) - density.low) / width * (columns.size - 1) if width else np.zeros(1)
    picture[:, np.clip(places, 0, columns.size - 1).astype(int)] = _LINE
    return picture


def bars_picture(losses: np.ndarray) -> np.ndarray:
    """Draws numbers as bars: a line for each row, a panel for each column, all of one scale.

    Black bars go to the right from a panel's black edge and are losses; grey ones are gains, as long as a loss of that
    size. What is not finite has the longest bar.

    Args:
        losses: `(weights, treatments)`, negative where something is gained.

    Returns:
        `(height, width)` uint8.

    >>> bars_picture(np.array([[1.0, -0.5]]))[0, [3, 159, 170, 240, 250]]
    array([  0,   0, 190, 190, 255], dtype=uint8)
    """
    finite = np.isfinite(losses)
    largest = np.abs(losses[finite]).max(initial=0.0) or 1.0
    sizes = np.where(finite, np.abs(np.where(finite, losses, 0.0)) / largest, 1.0)
    shades = np.where(np.where(finite, losses, 1.0) > 0, _LINE, _SHADE)
    rows, columns = losses.shape
    picture = np.full((rows, _BAR + _GAP, columns, _PANEL + _GAP), _PAPER, np.uint8)
    is_inside = np.arange(_PANEL) < np.rint(sizes * _PANEL)[..., np.newaxis]  # (rows, columns, _PANEL)
    bars = np.where(is_inside, shades[..., np.newaxis], _PAPER)
    picture[:, :_BAR, :, :_PANEL] = bars[:, np.newaxis]
    picture[..., 0] = _LINE
    return picture.reshape(rows * (_BAR + _GAP), -1)
