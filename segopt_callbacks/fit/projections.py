"""What runs inside the optimizer step: projections of a weight, attached as its `constraint`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.fit.marks import unmarked


class Projection(Protocol):
    """What a callback attaches to a variable."""

    def __call__(self, weight: Any, /) -> Any:
        """The nearest value that is allowed."""

    def let_go(self) -> None:
        """Allows every value, even where a step that somebody keeps was traced with it."""


class Unshared:
    """What a weight would be if all its updates were added up and nothing projected it; eight bytes per weight.

    Args:
        value: the weight now.
    """

    def __init__(self, value: np.ndarray) -> None:
        self._last, self._sum = (
            tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.MEAN, name="unshared")
            for _ in range(2)
        )

    def around(self, projection: compat.Constraint) -> compat.Constraint:
        """`projection`, which also sums up each update that it is given."""

        def watched(weight: Any) -> Any:
            weight = tf.convert_to_tensor(weight)
            self._sum.assign_add(weight - tf.convert_to_tensor(self._last))
            projected = projection(weight)
            self._last.assign(projected)
            return projected

        return watched

    def read(self) -> np.ndarray:
        """The sum, the weight's shape."""
        return compat.read(self._sum)

    def restart(self, weight: np.ndarray, unshared: np.ndarray) -> None:
        """Goes on from other values of the weight, and of the sum."""
        self._last.assign(weight)
        self._sum.assign(unshared)


@dataclass(frozen=True)
class Chain:
    """One projection after another."""

    projections: tuple[compat.Constraint, ...]

    def __call__(self, weight: Any) -> Any:
        for projection in self.projections:
            weight = projection(weight)
        return weight


class WithAverages:
    """A projection of a weight that takes the optimizer's averages of it (`use_ema`) along.

    The optimizer calls it inside the step, once the averages are updated. They are looked up there: an optimizer makes
    them when its first step is traced.

    Args:
        projection: what to apply to the weight and to its averages.
        averages: returns the variables that hold averages of the weight.
    """

    def __init__(self, projection: compat.Constraint, averages: Callable[[], Sequence[compat.Variable]]) -> None:
        self._projection = projection
        self._averages = averages

    def __call__(self, weight: Any) -> Any:
        for average in self._averages():
            compat.assign(average, self._projection(average))
        return self._projection(weight)


@dataclass(frozen=True)
class Composed:
    """The user's own constraint first, then ours: the last one holds exactly."""

    first: compat.Constraint
    then: compat.Constraint

    def __call__(self, weight: Any) -> Any:
        # NonNeg multiplies by 0, which leaves -0.0 on weights that are kept: the mark of those that are pruned.
        return self.then(unmarked(self.first(weight)))


@dataclass
class Attachments:
    """The constraints that were replaced, to be put back.

    >>> attachments = Attachments()
    >>> bool(attachments)
    False
    """

    _replaced: list[tuple[Any, compat.Constraint | None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self._replaced)

    def attach(self, variable: Any, projection: compat.Constraint) -> None:
        """Makes the optimizer apply `projection` to `variable` after each update, behind its own constraint."""
        constraint = compat.get_constraint(variable)
        self._replaced.append((variable, constraint))
        composed = projection if constraint is None else Composed(constraint, projection)
        compat.set_constraint(variable, compat.as_constraint(variable, composed))

    def detach(self) -> None:
        """Puts every replaced constraint back, the last one first."""
        while self._replaced:
            compat.set_constraint(*self._replaced.pop())
