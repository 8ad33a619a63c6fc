"""Values that differ by rounding alone -> one value: what a converter's arithmetic has spread. Pure NumPy."""

from __future__ import annotations

import numpy as np

_SPACINGS = 8  # of neighbouring floats: what a few multiplications and a square root leave


def merge_rounded(values: np.ndarray) -> np.ndarray:
    """Gives values that rounding has set apart the one that most of them have.

    A converter multiplies a kernel of 16 distinct values by the scale of each channel; where all channels have the same
    scale, up to its last bit, some values come out a bit apart. Values are merged only where weights share them (at
    most half as many are left as there are weights that are not zero), and only within eight floating-point spacings.

    Args:
        values: floating-point, any shape.

    Returns:
        the same shape and dtype; the argument itself where nothing is merged.

    >>> merge_rounded(np.array([1.0, 1.0, 1.0000001, -2.0, -2.0000002, -2.0], "float32")).tolist()
    [1.0, 1.0, 1.0, -2.0, -2.0, -2.0]
    """
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size < 2:
        return values
    width = _SPACINGS * np.spacing(np.abs(distinct))
    starts = np.flatnonzero(np.append(True, np.diff(distinct) > width[1:]))
    lasts = np.append(starts[1:], distinct.size) - 1
    if 2 * starts.size > np.count_nonzero(values) or np.any(distinct[lasts] - distinct[starts] > width[lasts]):
        return values
    most = np.maximum.reduceat(counts, starts)
    group = np.repeat(np.arange(starts.size), np.diff(np.append(starts, distinct.size)))
    is_common = counts == most[group]
    first = np.unique(group[is_common], return_index=True)[1]
    common = distinct[np.flatnonzero(is_common)[first]]
    return common[group][np.searchsorted(distinct, values)]
