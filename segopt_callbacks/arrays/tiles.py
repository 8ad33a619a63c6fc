"""Images of any size through a function of one size: tiles that overlap, and their answers blended; pure NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

Read = Callable[[slice, slice], np.ndarray]  # rows and columns -> pixels (height, width, bands)
Run = Callable[[np.ndarray], np.ndarray]  # pixels of one tile -> (height, width, classes) floats, or class ids


def axis_tiles(length: int, tile: int, overlap: int) -> list[tuple[int, np.ndarray]]:
    """Where tiles begin along one axis, and the share that each has in the answer at each of its places.

    Tiles are spread evenly, so that neighbours share `overlap` places or more. A network sees least of the surroundings
    at the border of its tile. So of what two tiles share, a quarter at the border of each is the other's alone, and
    between the quarters the share falls in a straight line. The shares of a place add up to 1.

    Args:
        length: places of the axis; may be less than `tile`.
        tile: places of a tile.
        overlap: places that two neighbours have in common, in [0, tile).

    Returns:
        for each tile its first place, and its shares `(tile,)` float32.

    Raises:
        ValueError: for an `overlap` that is no part of a tile.

    Example:
        >>> [(start, shares.tolist()) for start, shares in axis_tiles(6, 4, 2)]
        [(0, [1.0, 1.0, 0.75, 0.25]), (2, [0.25, 0.75, 1.0, 1.0])]
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"`overlap` must be at least 0 and less than the tile. Received: {overlap} of {tile} pixels.")
    room = max(length - tile, 0)
    steps = -(-room // (tile - overlap))
    starts = [round(step * room / steps) for step in range(steps + 1)] if steps else [0]
    common = [before + tile - after for before, after in itertools.pairwise(starts)]  # places of neighbours
    weights = [
        _rise(tile, before) * _rise(tile, after)[::-1] for before, after in zip([0, *common], [*common, 0], strict=True)
    ]
    total = np.zeros(room + tile)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + tile] += weight
    return [
        (start, (weight / total[start : start + tile]).astype(np.float32))
        for start, weight in zip(starts, weights, strict=True)
    ]


def _rise(tile: int, common: int) -> np.ndarray:
    """Weights `(tile,)` that rise from the first place of a tile, which shares `common` places with the one before."""
    left_out = common // 4
    width = max(common - 2 * left_out, 1)
    return np.clip((np.arange(tile) + 0.5 - left_out) / width, 0, 1) if common else np.ones(tile)


def blended(
    size: tuple[int, int], read: Read, run: Run, tile: tuple[int, int], overlap: tuple[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Runs a function tile by tile over an image, and blends the answers.

    Floats are averaged by their shares, see `axis_tiles`. Of class ids, which have no average, that of the tile with
    the largest share counts. Only the rows of one tile are in memory. An image that is smaller than a tile is
    continued by its mirror image, and the answer is cut to its size.

    Args:
        size: height and width of the image.
        read: gives the pixels of a part of the image.
        run: the function; it is given `tile` pixels, always.
        tile: height and width of a tile.
        overlap: rows and columns that two neighbours have in common.

    Yields:
        from top to bottom the first row, and the answer of finished rows: `(rows, width, classes)` float32, or
        `(rows, width)` class ids.

    Raises:
        ValueError: if an answer is not as high and wide as a tile.

    Example:
        >>> image = np.arange(12.0).reshape(3, 4, 1)
        >>> read, run = lambda rows, columns: image[rows, columns], lambda pixels: 2 * pixels
        >>> parts = blended((3, 4), read, run, tile=(2, 2), overlap=(1, 1))
        >>> np.concatenate([rows for _, rows in parts])[..., 0].tolist()
        [[0.0, 2.0, 4.0, 6.0], [8.0, 10.0, 12.0, 14.0], [16.0, 18.0, 20.0, 22.0]]
    """
    height, width = size
    down, across = (axis_tiles(*one) for one in zip(size, tile, overlap, strict=True))
    band: _Means | _Nearest | None = None
    for index, (top, row_shares) in enumerate(down):
        for left, column_shares in across:
            rows, columns = slice(top, min(top + tile[0], height)), slice(left, min(left + tile[1], width))
            answer = _answer(run, _continued(read(rows, columns), tile), tile)
            if band is None:
                band = (_Nearest if answer.ndim == 2 else _Means)(tile[0], max(width, tile[1]), answer)
            band.add(left, row_shares[:, None] * column_shares, answer)
        following = down[index + 1][0] if index + 1 < len(down) else height
        if band is not None:
            yield top, band.take(following - top)[:, :width]


def _answer(run: Run, pixels: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    answer = run(pixels)
    if answer.shape[:2] != tile or answer.ndim not in (2, 3):
        raise ValueError(
            f"An answer must be as high and wide as the image. Received: {answer.shape} for a tile of {tile} pixels."
        )
    return answer


def _continued(pixels: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    missing = [(0, side - have) for side, have in zip(tile, pixels.shape, strict=False)]
    return np.pad(pixels, [*missing, (0, 0)], mode="symmetric") if any(map(max, missing)) else pixels


class _Means:
    """Rows of an image in which averages of floats are made; the first ones leave when they are finished."""

    def __init__(self, rows: int, width: int, answer: np.ndarray) -> None:
        self._sums = np.zeros((rows, width, answer.shape[2]), np.float32)

    def add(self, left: int, shares: np.ndarray, answer: np.ndarray) -> None:
        """Adds the answer of the tile whose columns begin at `left`."""
        self._sums[:, left : left + answer.shape[1]] += shares[..., None] * answer

    def take(self, count: int) -> np.ndarray:
        """The first rows, which nothing will be added to any more; the others move up."""
        done = self._sums[:count].copy()
        self._sums = np.concatenate([self._sums[count:], np.zeros_like(self._sums[:count])])
        return done


class _Nearest:
    """Rows of class ids, each of the tile that has the largest share of its place."""

    def __init__(self, rows: int, width: int, answer: np.ndarray) -> None:
        self._ids = np.zeros((rows, width), answer.dtype)
        self._shares = np.zeros((rows, width), np.float32)

    def add(self, left: int, shares: np.ndarray, answer: np.ndarray) -> None:
        """Takes over the answer where the share of its tile is larger than any before."""
        columns = slice(left, left + answer.shape[1])
        larger = shares > self._shares[:, columns]
        self._ids[:, columns] = np.where(larger, answer, self._ids[:, columns])
        self._shares[:, columns] = np.where(larger, shares, self._shares[:, columns])

    def take(self, count: int) -> np.ndarray:
        """The first rows, which nothing will be added to any more; the others move up."""
        done = self._ids[:count].copy()
        self._ids = np.concatenate([self._ids[count:], np.zeros_like(self._ids[:count])])
        self._shares = np.concatenate([self._shares[count:], np.zeros_like(self._shares[:count])])
        return done
