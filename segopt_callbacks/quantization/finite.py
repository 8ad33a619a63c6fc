"""The first NaN stops training, with the names of what holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.errors import listed
from segopt_callbacks.quantization.ranges import Range

_LONGEST = 64  # steps between two looks


def is_due(step: int, begin: int) -> bool:
    """Whether to look after a step: soon after rounding begins, then every 64th.

    >>> [step for step in range(300) if is_due(step, 10)]
    [11, 12, 14, 18, 26, 42, 74, 138, 202, 266]
    """
    since = step - begin
    return since > 0 and (since & (since - 1) == 0 if since < _LONGEST else since % _LONGEST == 0)


def require_finite(model: Any, ranges: Mapping[str, Range], step: int) -> None:
    """Raises unless all weights are finite, and all tensors that were observed.

    Reads each weight once: a copy to the host, and one pass over it.

    Args:
        model: the model.
        ranges: name of a tensor -> its range, in the order in which tensors are computed.
        step: the step that training has come to.

    Raises:
        FloatingPointError: with the tensors that were the first.
    """
    spoiled = {name: one.spoiled for name, one in ranges.items() if one.spoiled}
    earliest = [name for name, count in spoiled.items() if count == max(spoiled.values())]
    weights = [compat.variable_path(one) for one in model.weights if not _is_finite(compat.read(one))]
    if not earliest and not weights:
        return
    found = [f"tensors {listed(earliest)}"] if earliest else []
    found += [f"weights {listed(weights)}"] if weights else []
    raise FloatingPointError(
        "Training against rounding must stay finite, but a tensor is NaN or infinite. 8 bits hold no infinity: mask "
        "with a number instead. If plain training is not finite either, lower the learning rate or look at the data. "
        f"Received: {' and '.join(found)} not finite at step {step}."
    )


def _is_finite(value: np.ndarray) -> bool:
    return value.dtype.kind not in "fV" or bool(np.isfinite(value.astype(np.float32, copy=False)).all())
