"""What the callback is told, checked before any step is spent on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from segopt_callbacks.fit import validate_step
from segopt_callbacks.rules import require_fraction


def validate_settings(begin_step: Any, num_bits: Any, freeze_at: Any, learn_ranges: Any) -> None:
    """Checks arguments of `QuantizationAwareTrainingCallback`, which says what each means.

    Raises:
        ValueError: for one outside its range.
    """
    validate_step("begin_step", begin_step)
    if num_bits not in (4, 8):
        raise ValueError(f"`num_bits` must be 8 or 4, the bits of a kernel. Received: num_bits={num_bits!r}.")
    require_fraction("freeze_at", freeze_at, "the training")
    if not isinstance(learn_ranges, bool):
        raise ValueError(
            f"`learn_ranges` must be True, or False for averages. Received: learn_ranges={learn_ranges!r}."
        )


def checked_ranges(ranges: Any) -> dict[str, tuple[float, float]]:
    """What the user says of ranges, as floats.

    Raises:
        ValueError: unless it is `None`, or maps names to pairs of finite numbers around zero.

    >>> checked_ranges({"input_0": (0, 1)})
    {'input_0': (0.0, 1.0)}
    """
    if ranges is not None and not isinstance(ranges, Mapping):
        raise ValueError(
            "`ranges` must map names of tensors to (lowest, highest); pass `ranges` of a "
            f"QuantizationAwareTrainingCallback. Received: {type(ranges).__name__}."
        )
    checked = {}
    for name, pair in (ranges or {}).items():
        if not _is_range(pair):
            raise ValueError(
                "`ranges` must give the lowest value, at most 0, and the highest, at least 0, of each tensor; pass "
                f"`ranges` of a QuantizationAwareTrainingCallback. Received: {name!r}: {pair!r}."
            )
        checked[str(name)] = (float(pair[0]), float(pair[1]))
    return checked


def _is_range(pair: Any) -> bool:
    try:
        low, high = map(float, pair)
    except (TypeError, ValueError):
        return False
    return math.isfinite(low) and math.isfinite(high) and low <= 0 <= high
