"""What runs inside the optimizer step: projections of a weight, attached as its `constraint`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat


class Projection(Protocol):
    """What a callback attaches to a variable."""

    def __call__(self, weight: Any, /) -> Any:
        """The nearest value that is allowed."""

    def let_go(self) -> None:
        """Allows every value, even where a step that somebody keeps was traced with it."""


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


class Clustered:
    """Projection onto the weights that share values as assigned: each becomes the mean of its cluster.

    `w -> mean(w[members of the same cluster])`, and zero in a cluster of zeros; nothing happens before `share`. Sums
    are float64, so that weights that are equal stay what they are.

    After a step of plain gradient descent that mean is the old centroid minus the learning rate times the *mean*
    gradient of its members: fine-tuning by Han et al. (2016, https://arxiv.org/abs/1510.00149, section 3), who take the
    *sum*, with a learning rate divided by the number of members, which no centroid can outrun.

    Args:
        shape: the weight's shape.
        size: most centroids, over all channels.
    """

    def __init__(self, shape: tuple[int, ...], size: int) -> None:
        self._size = size
        self._assignment = tf.Variable(np.zeros(shape, np.int32), trainable=False, name="assignment")
        self._members = tf.Variable(np.ones(size), trainable=False, name="members")  # infinite in a cluster of zeros
        self._is_sharing = tf.Variable(False, trainable=False, name="is_sharing")

    def __call__(self, weight: Any) -> tf.Tensor:
        weight = tf.convert_to_tensor(weight)
        return tf.cond(tf.convert_to_tensor(self._is_sharing), lambda: self._shared(weight), lambda: weight)

    def _shared(self, weight: tf.Tensor) -> tf.Tensor:
        assignment = tf.reshape(tf.convert_to_tensor(self._assignment), [-1])
        values = tf.cast(tf.reshape(weight, [-1]), tf.float64)
        # tf.math.bincount does not compile under XLA; tf.math.segment_sum takes five times as long without it.
        sums = tf.raw_ops.DenseBincount(input=assignment, size=self._size, weights=values, binary_output=False)
        members = tf.convert_to_tensor(self._members)
        centroids = tf.cast(tf.where(tf.math.is_inf(members), tf.zeros_like(sums), sums / members), weight.dtype)
        return tf.reshape(tf.gather(centroids, assignment), weight.shape)

    @property
    def is_sharing(self) -> bool:
        """Whether weights share values by now."""
        return bool(compat.read(self._is_sharing))

    def share(self, assignment: np.ndarray, is_zero: np.ndarray) -> None:
        """Shares values from now on, on every replica.

        Args:
            assignment: the weight's shape, index of each weight's cluster.
            is_zero: bool, one for each cluster, True where its weights stay zero.
        """
        members = np.bincount(assignment.ravel(), minlength=self._size).astype(np.float64)
        members[: is_zero.size][is_zero] = np.inf
        self._assignment.assign(assignment)
        self._members.assign(np.maximum(members, 1.0))
        self._is_sharing.assign(True)

    def let_go(self) -> None:
        """Shares nothing any more, even where a step that somebody keeps was traced with it."""
        self._is_sharing.assign(False)


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
