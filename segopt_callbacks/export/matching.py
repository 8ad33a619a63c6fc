"""Where the weights of a written file came from in the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from segopt_callbacks.arrays import row_blocks

SAME = 0.95  # cosine between a weight of the model and the file's: int8 rounding costs far less


def match_weights(stored: Iterable[np.ndarray], weights: Mapping[str, np.ndarray]) -> list[str | None]:
    """Finds the model's own weight behind each weight of a file, by value.

    Converters rename weights, transpose them, fold normalisation into them (which scales output channels) and round
    them; the direction of each output channel survives all of that.

    Args:
        stored: the values in the file, less their zero point, output channels first: `(channels, elements)`.
        weights: path -> value, the model's weights.

    Returns:
        for each stored weight the path of the model's, `None` where none is alike.

    Example:
        >>> kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 8))
        >>> match_weights([5 * kernel.reshape(-1, 8).T], {"conv/kernel": kernel, "other": kernel[::-1]})
        ['conv/kernel']
    """
    free = kernels(weights)
    return [matched(channels, free) for channels in stored]


def kernels(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of rank 2 or more."""
    return {path: value for path, value in weights.items() if value.ndim >= 2}


def matched(channels: np.ndarray, free: dict[str, np.ndarray]) -> str | None:
    """The path of the weight that is most alike, which is taken out of `free`; see `match_weights`."""
    likeness = {path: _likeness(channels, value) for path, value in free.items() if value.size == channels.size}
    best = max(likeness, key=likeness.__getitem__, default=None)
    if best is None or likeness[best] < SAME:
        return None
    del free[best]
    return best


def _likeness(channels: np.ndarray, weight: np.ndarray) -> float:
    best = 0.0
    for layout in layouts(weight):
        if layout.shape == channels.shape:
            cosines = [_cosines(channels[part], layout[part]) for part in row_blocks(*channels.shape)]
            best = max(best, float(np.concatenate(cosines).mean()))
    return best


def _cosines(channels: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.abs((_unit(channels) * _unit(others)).sum(axis=1))


def layouts(weight: np.ndarray) -> Iterator[np.ndarray]:
    """The ways in which converters lay out a Keras kernel, each as `(channels, elements)`."""
    yield weight.reshape(-1, weight.shape[-1]).T  # convolutions, dense
    if weight.ndim >= 3:
        second_last = np.moveaxis(weight, -2, 0)
        yield second_last.reshape(weight.shape[-2], -1)  # transposed: (h, w, out, in)
        yield weight.reshape(-1, weight.shape[-2] * weight.shape[-1]).T  # depthwise: (h, w, in, multiplier)


def _unit(channels: np.ndarray) -> np.ndarray:
    channels = np.ascontiguousarray(channels, np.float32)
    # A channel of zeros is like a channel of zeros.
    norm = np.linalg.norm(channels, axis=1, keepdims=True)
    empty = np.full_like(channels, 1 / np.sqrt(channels.shape[1]))
    return np.where(norm > 0, channels / np.maximum(norm, 1e-30), empty)
