"""The projection that shares values: each weight becomes the mean of its cluster, after each optimizer step."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat


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
