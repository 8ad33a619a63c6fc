"""What runs inside the optimizer step: projections of a weight, attached as its `constraint`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat


class Masked:
    """Projection onto the weights with zeros in given places: `w -> where(mask, w, -0.0)`.

    The mask is a variable of one byte per weight, so that it can change while the compiled step stays. Its zeros are
    negative, so that a checkpoint tells them from a weight that is kept and happens to be 0; see `pruned_before`.

    Args:
        shape: the weight's shape. Everything is kept at first.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._kept = tf.Variable(np.ones(shape, bool), trainable=False, name="mask")
        self._last: np.ndarray | None = None

    def __call__(self, weight: Any) -> tf.Tensor:
        weight = tf.convert_to_tensor(weight)
        return _select(tf.convert_to_tensor(self._kept), weight, _filled(weight, -0.0))

    @property
    def mask(self) -> np.ndarray:
        """bool, the weight's shape, True where a weight is kept."""
        return compat.read(self._kept) if self._last is None else self._last

    @mask.setter
    def mask(self, mask: np.ndarray) -> None:
        """Replaces the mask, on every replica."""
        self._kept.assign(mask)

    def let_go(self) -> None:
        """Prunes no more, even where a step that somebody keeps was traced with it; `mask` can still be read."""
        self._last = self.mask
        self._kept.assign(np.ones(self._kept.shape, bool))


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


def _filled(like: tf.Tensor, zero: float) -> tf.Tensor:
    # An array: of Python's numbers TensorFlow keeps the tensors, and takes that of 0.0 for -0.0.
    return tf.fill(like.shape, np.full((), zero, like.dtype.as_numpy_dtype))


def _select(condition: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    # tf.where takes half as long again with a scalar: it broadcasts.
    return tf.raw_ops.Select(condition=condition, x=first, y=second)


def unmarked(weight: Any) -> tf.Tensor:
    """The same values without negative zeros: no weight is marked as pruned."""
    weight = tf.convert_to_tensor(weight)
    return _select(weight == 0, _filled(weight, 0.0), weight)


def pruned_before(values: np.ndarray) -> np.ndarray:
    """Where `Masked` has zeroed weights that were saved and restored since: bool, `values`' shape.

    >>> pruned_before(np.array([0.0, -0.0, -0.5]))
    array([False,  True, False])
    """
    return (values == 0) & np.signbit(values)


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
        compat.set_constraint(variable, projection if constraint is None else Composed(constraint, projection))

    def detach(self) -> None:
        """Puts every replaced constraint back, the last one first."""
        while self._replaced:
            compat.set_constraint(*self._replaced.pop())
