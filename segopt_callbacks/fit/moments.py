"""When something begins: at a step, or at a fraction of the training. Plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segopt_callbacks.rules import is_number, require_fraction


@dataclass(frozen=True)
class Moment:
    """See `step_by_fraction`."""

    fraction: float

    def __post_init__(self) -> None:
        require_fraction("fraction", self.fraction, "the training")


def step_by_fraction(fraction: float) -> Moment:
    """A step as a fraction of the training, for `begin_step`: whatever the number of epochs and the size of the data.

    Args:
        fraction: in [0, 1]; 0 is before the first step, 1 the end.

    Raises:
        ValueError: for another number; when training begins, if the steps of an epoch are not known.

    >>> step_of(step_by_fraction(0.6), last_step=500)
    300
    """
    return Moment(fraction)


def validate_step(name: str, value: Any) -> None:
    """Checks what a callback was told.

    Raises:
        ValueError: unless it is a number of steps, at least 0, or a fraction of the training.
    """
    if not isinstance(value, Moment) and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        is_fraction = is_number(value) and 0 < value < 1
        raise ValueError(
            f"`{name}` must be a number of steps, at least 0, or `step_by_fraction(...)`, a fraction of the training."
            f"{f' Did you mean step_by_fraction({value})?' if is_fraction else ''} Received: {name}={value!r}."
        )


def step_of(begin: int | Moment, last_step: int | None) -> int:
    """The step that is meant.

    Args:
        begin: a step, or a fraction of the training.
        last_step: of the fit; `None` where it is not known.

    Raises:
        ValueError: for a fraction of an unknown length.
    """
    if not isinstance(begin, Moment):
        return begin
    if last_step is None:
        raise ValueError(
            "A fraction of the training needs to know the steps of an epoch; give `steps_per_epoch` to fit, or a "
            f"number of steps. Received: data of unknown length, and {begin}."
        )
    return round(begin.fraction * last_step)
