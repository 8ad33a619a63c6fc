"""The weights that are pruned together, with their masks: all that pruning reads from the model and writes to it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.arrays import for_each_block
from segopt_callbacks.channels import ChannelGroups, Costs, channel_groups
from segopt_callbacks.fit import pruned_before
from segopt_callbacks.model import Role
from segopt_callbacks.pruning.followers import Followers
from segopt_callbacks.pruning.latency import most_saved
from segopt_callbacks.pruning.masked import Masked
from segopt_callbacks.pruning.timed import timed


class PrunedWeights:
    """Weights of a model and a mask for each; everything is kept at first.

    Args:
        model: whose weights they are.
        weights: path -> variable.
        roles: path -> what the kernel is in the model; default: its last axis is the output channels.
        inputs: structure of `tf.TensorSpec` that the model takes, for whole channels to be pruned: with those that they
            are added to, with their biases and normalisations. `None` where weights are pruned by themselves.
    """

    def __init__(
        self,
        model: Any,
        weights: Mapping[str, Any],
        roles: Mapping[str, Role] | None = None,
        inputs: Any = None,
        *,
        times_layers: bool = False,
    ) -> None:
        roles = roles or {}
        self.weights = dict(weights)
        self.outputs = {path: (roles[path].outputs if path in roles else None) or (-1,) for path in weights}
        self._model = model
        with compat.strategy_scope(model):
            self.masked = {path: Masked(tuple(weight.shape)) for path, weight in weights.items()}
            self._followers = self._followers_of(roles, inputs, times_layers)
        self._costs = timed(self._followers.groups.layers) if times_layers else None
        self.constraints = self._constraints()
        self._before = self.values  # TensorFlow's own memory, until the first step tells who trains

    def _followers_of(self, roles: Mapping[str, Role], inputs: Any, with_layers: bool) -> Followers:
        if inputs is None:
            return Followers({}, ChannelGroups())
        kernels = {path: (weight, self.outputs[path]) for path, weight in self.weights.items()}
        direct = {path: role.followers for path, role in roles.items()}
        return Followers(direct, channel_groups(self._model, inputs, kernels, with_layers=with_layers))

    def _constraints(self) -> list[tuple[Any, Masked]]:
        return [*((self.weights[path], one) for path, one in self.masked.items()), *self._followers.masked]

    @property
    def labels(self) -> Mapping[str, np.ndarray]:
        """Path -> the group of each channel, see `channels.ChannelGroups`."""
        return self._followers.groups.kernels

    @property
    def costs(self) -> Costs | None:
        """What the model's layers cost, if they were timed."""
        return self._costs and replace(self._costs, layers=self._followers.groups.layers)

    def most_saved(self, multiple: int) -> float | None:
        """The fraction of the layers' time that can go, if they were timed; of each kind so many channels stay."""
        return most_saved(self.labels.values(), self.costs, multiple=multiple) if self.costs else None

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Path -> bool of the weight's shape, True where a weight is kept."""
        return {path: masked.mask for path, masked in self.masked.items()}

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Path -> the weight's value."""
        return {path: compat.read(weight) for path, weight in self.weights.items()}

    def take_marks(self) -> None:
        """Takes the masks from a run that was interrupted, see `pruned_before`."""
        for path, value in self.values.items():
            self.masked[path].mask = ~pruned_before(value)

    def leave_out(self, paths: set[str]) -> None:
        """Prunes these no more, and gives them back the values that they had before anything was pruned."""
        for path in paths:
            self.masked.pop(path).let_go()
            self._followers.leave_out(path)
            weight = self.weights.pop(path)
            if path in self._before:
                compat.assign(weight, self._before[path])
        self.constraints = self._constraints()

    def forget_before(self) -> None:
        """Keeps no values of before any longer."""
        self._before = {}

    def apply_masks(self, *, at_once: bool = True) -> None:
        """Zeros what the masks prune, which have changed, and what dies with it; or leaves that to the next step."""
        if self._followers.masked:
            self._followers.update(self.masks, self.outputs)
        if at_once:
            self.project()

    def project(self) -> None:
        """Zeros every pruned weight."""
        for variable, masked in self._copies():
            weight = tf.convert_to_tensor(variable)
            # A weight that came back loses its mark: -0.0 + 0.0 is 0.0. (Eager; in a graph TensorFlow leaves that out.)
            compat.assign(variable, masked(weight + tf.zeros((), weight.dtype)))

    def hold(self) -> bool:
        """Whether every pruned weight is zero now, and every average that the optimizer keeps of it."""
        return not any(_come_back(compat.read(variable), masked.mask) for variable, masked in self._copies())

    def take_zeros(self) -> bool:
        """Takes the zeros for the masks, where each weight has at least as many; returns whether it has.

        With regrowth the masks move while the sparsity stays: a restored epoch has its zeros in other places.
        """
        zeros = {path: value == 0 for path, value in self.values.items()}
        if any(np.count_nonzero(zeros[path]) < np.count_nonzero(~mask) for path, mask in self.masks.items()):
            return False
        for path, zero in zeros.items():
            self.masked[path].mask = ~zero
        self.apply_masks()
        return True

    def sparsity(self) -> float:
        """Fraction of zeros over all of them, in [0, 1]."""
        values = self.values.values()
        return float(sum(np.count_nonzero(value == 0) for value in values) / sum(value.size for value in values))

    def promised_sparsity(self) -> float:
        """Fraction of zeros that the masks ask for, in [0, 1]."""
        masks = self.masks.values()
        return 1 - sum(np.count_nonzero(mask) for mask in masks) / sum(mask.size for mask in masks)

    def verify(self) -> None:
        """Counts the zeros.

        Raises:
            RuntimeError: if a weight has fewer than its mask asks for.
        """
        for path, mask in self.masks.items():
            zeros = int(np.count_nonzero(compat.read(self.weights[path]) == 0))
            promised = int(np.count_nonzero(~mask))
            if zeros < promised:
                raise RuntimeError(
                    "A pruned weight must have its zeros when training ends, but something else writes to it. "
                    f"Received: {path!r} with {zeros} zeros, {promised} promised."
                )

    def _copies(self) -> list[tuple[Any, Masked]]:
        return [
            (copy, masked)
            for variable, masked in self.constraints
            for copy in (variable, *compat.averages_of(self._model, variable))
        ]

    def warn_of_other_weights(self) -> None:
        """Says that somebody has put weights of another sparsity in place, which were pruned once more."""
        warnings.warn(
            "Another callback replaced the weights at the end of training, by weights of sparsity "
            f"{self.sparsity():.4f} where the masks have {self.promised_sparsity():.4f}; they were "
            "pruned once more, to values that no epoch evaluated. If it restores the best epoch, let only epochs at "
            "the target sparsity count: AtTargetSparsity(EarlyStopping(...)).",
            stacklevel=3,
        )


def _come_back(values: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a pruned weight is not zero."""
    values, mask = values.ravel(), mask.ravel()
    return any(for_each_block(lambda part: np.any((values[part] != 0) > mask[part]), values.size))
