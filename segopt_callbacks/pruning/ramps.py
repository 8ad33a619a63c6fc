"""Ramps of the sparsity in a user's own units, epochs or a fraction of the training. Plain Python."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from segopt_callbacks.rules import is_number, require_fraction, require_whole


@dataclass(frozen=True)
class Ramp:
    """See `ramp_by_epoch` and `ramp_by_fraction`."""

    final_sparsity: float | Callable[[Any], float]
    begin: float
    end: float
    unit: str
    initial_sparsity: float = 0.0
    power: float = 3.0
    updates: int = 20

    def __post_init__(self) -> None:
        for name in ("initial_sparsity", "final_sparsity"):
            value = getattr(self, name)
            if not callable(value) or name == "initial_sparsity" or isinstance(value, type):
                require_fraction(name, value, "zeros", high=")")
        is_inside = is_number(self.begin) and is_number(self.end) and 0.0 <= self.begin < self.end
        if not is_inside or (self.unit == "fraction" and self.end > 1):
            rule = "fractions of the training, 0 <= begin < end <= 1" if self.unit == "fraction" else "0 <= begin < end"
            meant = " Did you mean ramp_by_epoch?" if is_inside else ""
            raise ValueError(
                f"`begin` and `end` must be {rule}.{meant} Received: begin={self.begin!r}, end={self.end!r}."
            )
        if not is_number(self.power) or self.power <= 0:
            raise ValueError(f"`power` must be a number above 0. Received: power={self.power!r}.")
        is_whole = isinstance(self.updates, numbers.Integral) and not isinstance(self.updates, bool)
        require_whole("updates", int(self.updates) if is_whole else self.updates, 1)

    def of_model(self, known: float) -> Ramp:
        """The ramp for a model of so many weights, or of so much time that can go, if its end depends on that."""
        return replace(self, final_sparsity=self.final_sparsity(known)) if callable(self.final_sparsity) else self

    def in_steps(self, steps_per_epoch: int | None, epochs: int) -> StepRamp:
        """The ramp for a fit whose length is known.

        Raises:
            ValueError: if it is not.
        """
        if not steps_per_epoch:
            raise ValueError(
                "A ramp in epochs or fractions needs to know the steps of an epoch; give `steps_per_epoch` to fit, "
                "or use PolynomialDecay, which counts in steps. Received: data of unknown length."
            )
        scale = steps_per_epoch * (epochs if self.unit == "fraction" else 1)
        begin = round(self.begin * scale)
        end = max(round(self.end * scale), begin + 1)
        if callable(self.final_sparsity):
            raise ValueError("A sparsity that depends on the model needs that first; see `of_model`.")
        raises = {begin + round(number * (end - begin) / self.updates) for number in range(self.updates + 1)}
        return StepRamp(self.initial_sparsity, self.final_sparsity, begin, end, self.power, frozenset(raises))


@dataclass(frozen=True)
class StepRamp:
    """A polynomial ramp in steps: `final + (initial - final) * (1 - (step - begin) / (end - begin)) ** power`."""

    initial_sparsity: float
    final_sparsity: float
    begin_step: int
    end_step: int
    power: float
    raises: frozenset[int]

    def __call__(self, step: int) -> tuple[bool, float]:
        progress = min(max((step - self.begin_step) / (self.end_step - self.begin_step), 0.0), 1.0)
        left = (self.initial_sparsity - self.final_sparsity) * (1 - progress) ** self.power
        return step in self.raises, self.final_sparsity + left


def ramp_by_epoch(
    final_sparsity: float | Callable[[Any], float],
    begin: float,
    end: float,
    *,
    initial_sparsity: float = 0.0,
    power: float = 3.0,
    updates: int = 20,
) -> Ramp:
    """Raises the sparsity between two epochs, `PolynomialDecay` in a user's own unit.

    Args:
        final_sparsity: fraction of zeros from `end` on, in [0, 1); or a function from the number of weights to it. With
            `scope="latency"`, from the fraction of the time that can go.
        begin: when pruning begins, in epochs from the beginning of the fit; 0.5 is the middle of the first one.
        end: when `final_sparsity` is reached, in epochs.
        initial_sparsity: fraction of zeros at `begin`, in [0, 1).
        power: of the polynomial; 3 prunes most at the beginning (Zhu and Gupta 2017).
        updates: how often the sparsity is raised, evenly over the ramp.

    Raises:
        ValueError: for an argument outside its range.

    >>> ramp_by_epoch(0.5, begin=1, end=3).in_steps(steps_per_epoch=10, epochs=5)(20)
    (True, 0.4375)
    """
    return Ramp(final_sparsity, begin, end, "epoch", initial_sparsity, power, updates)


def ramp_by_fraction(
    final_sparsity: float | Callable[[Any], float],
    begin: float = 0.1,
    end: float = 0.6,
    *,
    initial_sparsity: float = 0.0,
    power: float = 3.0,
    updates: int = 20,
) -> Ramp:
    """Raises the sparsity over a part of the training; see `ramp_by_epoch`.

    Args:
        final_sparsity: fraction of zeros from `end` on, in [0, 1); or a function from the number of weights to it. With
            `scope="latency"`, from the fraction of the time that can go.
        begin: when pruning begins, as a fraction of the training in [0, 1].
        end: when `final_sparsity` is reached, as a fraction of the training; the rest recovers.
        initial_sparsity: fraction of zeros at `begin`, in [0, 1).
        power: of the polynomial; 3 prunes most at the beginning.
        updates: how often the sparsity is raised, evenly over the ramp.

    Raises:
        ValueError: for an argument outside its range.

    >>> ramp_by_fraction(0.8, 0.0, 0.5).in_steps(steps_per_epoch=10, epochs=4)(20)
    (True, 0.8)
    """
    return Ramp(final_sparsity, begin, end, "fraction", initial_sparsity, power, updates)
