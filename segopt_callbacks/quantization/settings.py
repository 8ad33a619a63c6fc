"""What the callback is told, checked before any step is spent on it."""

from __future__ import annotations

from typing import Any

from segopt_callbacks.fit import validate_step


def validate_settings(begin_step: Any, num_bits: Any, freeze_at: Any, learn_ranges: Any) -> None:
    """Checks arguments of `QuantizationAwareTrainingCallback`, which says what each means.

    Raises:
        ValueError: for one outside its range.
    """
    validate_step("begin_step", begin_step)
    if num_bits not in (4, 8):
        raise ValueError(f"`num_bits` must be 8 or 4, the bits of a kernel. Received: num_bits={num_bits!r}.")
    if isinstance(freeze_at, bool) or not isinstance(freeze_at, int | float) or not 0 <= freeze_at <= 1:
        raise ValueError(
            f"`freeze_at` must be a fraction of the training, in [0, 1]. Received: freeze_at={freeze_at!r}."
        )
    if not isinstance(learn_ranges, bool):
        raise ValueError(
            f"`learn_ranges` must be True, or False for averages. Received: learn_ranges={learn_ranges!r}."
        )
