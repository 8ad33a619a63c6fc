"""The weights that share values: all that clustering reads from the model and writes to it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.arrays import distinct
from segopt_callbacks.clustering.centroids import Clusters, cluster
from segopt_callbacks.clustering.folding import Fold, find_folds
from segopt_callbacks.clustering.initializations import find_initialization
from segopt_callbacks.model import (
    Filters,
    by_first_match,
    named_alone,
    read_finite,
    roles,
    select_weights,
    validate_filters,
)
from segopt_callbacks.records import Codebook, Density
from segopt_callbacks.rules import require_flag

NumberOfClusters = int | Mapping[str, int]


@dataclass(frozen=True)
class ClusterReport:
    """What clustering did to one weight.

    Attributes:
        error: squared error when it was clustered, relative to the weight's variance; 0 where nothing was lost.
        distinct: number of distinct values, over all channels.
        bits_per_weight: what an ideal entropy coder takes: the entropy of the assignment, and the codebook's share.
        folded: whether the scale of a BatchNormalization was moved into the kernel first.
    """

    error: float
    distinct: int
    bits_per_weight: float
    folded: bool


@dataclass(frozen=True)
class Sharing:
    """The settings of clustering, checked; for their meaning see `clustering.cluster_model`.

    Raises:
        ValueError: for a setting outside its range.
    """

    number_of_clusters: NumberOfClusters = 16
    filters: Filters = None
    per_channel: bool | int = False
    preserve_sparsity: bool = True
    initialization: Any = "optimal"
    fold_batch_norm: bool = True

    def __post_init__(self) -> None:
        for number in self._rules.values():
            _validate_number(number)
        validate_filters(self.filters)
        validate_filters(list(self._rules), "number_of_clusters")
        if not isinstance(self.per_channel, bool | int):
            raise ValueError(
                "`per_channel` must be False, True (the output channels) or the number of an axis. "
                f"Received: per_channel={self.per_channel!r}."
            )
        for name in ("preserve_sparsity", "fold_batch_norm"):
            require_flag(name, getattr(self, name))
        find_initialization(self.initialization)

    @property
    def _rules(self) -> Mapping[str, int]:
        numbers = self.number_of_clusters
        return numbers if isinstance(numbers, Mapping) else {"": numbers}

    def select(self, model: Any) -> dict[str, Any]:
        """Path -> variable of the weights to cluster; those that no rule matches are left out."""
        chosen = select_weights(model, self.filters)
        matched = set(self.numbers(chosen))
        return {path: weight for path, weight in chosen.items() if path in matched}

    def numbers(self, weights: dict[str, Any]) -> dict[str, int]:
        """Path -> number of clusters, of each weight that a rule matches."""
        shared = by_first_match(list(self._rules), weights)
        return {path: self._rules[rule] for rule, paths in shared.items() for path in paths}

    def not_named(self, model: Any, weights: dict[str, Any], paths: set[str]) -> set[str]:
        """Those of `paths` that no filter, and no rule of a mapping, names by itself."""
        left = paths & weights.keys()
        rules = list(self._rules) if isinstance(self.number_of_clusters, Mapping) else None
        return left - named_alone(model, rules if self.filters is None else self.filters, weights, left)

    def needs_graph(self, model: Any) -> bool:
        """Whether the model's graph must be traced: for output channels, or to find each BatchNormalization."""
        return self.per_channel is True or self._folds(model)

    def _folds(self, model: Any) -> bool:
        # With a codebook for each channel the scale of a channel changes nothing.
        return self.fold_batch_norm and self.per_channel is False and bool(compat.batch_norms(model))

    def channel_axes(self, model: Any, inputs: Any, weights: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        """Path -> the axes along which each weight has codebooks of its own.

        Raises:
            ValueError: for an axis that a weight does not have.
        """
        if self.per_channel is False:
            return dict.fromkeys(weights, ())
        if self.per_channel is True:
            return {path: role.outputs or (-1,) for path, role in roles(model, inputs, weights).items()}
        for path, weight in weights.items():
            if not -len(weight.shape) <= self.per_channel < len(weight.shape):
                raise ValueError(
                    "`per_channel` must be an axis of every weight that is clustered; use True, or `filters`. "
                    f"Received: per_channel={self.per_channel}, {path!r} of shape {tuple(weight.shape)}."
                )
        return dict.fromkeys(weights, (int(self.per_channel),))

    def folds(self, model: Any, inputs: Any, weights: dict[str, Any]) -> dict[str, Fold]:
        """Path -> the BatchNormalization behind a kernel, of those that have one and shall be folded."""
        if not self._folds(model):
            return {}
        try:
            if inputs is None:
                raise ValueError(f"Received: {model.name!r}, whose inputs are not known.")
            return find_folds(model, inputs, weights)
        except ValueError as error:
            warnings.warn(
                "Kernels are clustered without the BatchNormalization behind them, which leaves more distinct values "
                f"in converted files (fold_batch_norm=False says so without this warning): {error}",
                stacklevel=2,
            )
            return {}


class ClusteredWeights:
    """Weights of a model and the values that they share, once `share` was called.

    Args:
        model: whose weights they are.
        weights: path -> variable.
        sharing: the settings.
        inputs: structure of `tf.TensorSpec` that the model takes; `None` where nothing needs it.
    """

    def __init__(self, model: Any, weights: dict[str, Any], sharing: Sharing, inputs: Any) -> None:
        self.weights = dict(weights)
        self.numbers = sharing.numbers(weights)
        self.axes = sharing.channel_axes(model, inputs, weights)
        self.folds = sharing.folds(model, inputs, weights)
        self.clusters: dict[str, Clusters] = {}
        self.codebooks: dict[str, Codebook] = {}
        self._model = model
        self._sharing = sharing

    def leave_out(self, paths: set[str]) -> None:
        """Clusters these no more."""
        for of_weights in (self.weights, self.numbers, self.axes, self.folds, self.clusters, self.codebooks):
            for path in paths & of_weights.keys():
                del of_weights[path]

    def most_values(self, path: str) -> int:
        """How many distinct values a weight may have, over all channels."""
        shape = self.weights[path].shape
        return self.numbers[path] * int(np.prod([shape[axis] for axis in self.axes[path]], dtype=np.int64))

    def share(self) -> dict[str, ClusterReport]:
        """Clusters every weight: path -> what was done."""
        for path in self.weights:
            self.absorb_scale(path)
            self.cluster(path)
        return self.reports()

    def absorb_scale(self, path: str) -> None:
        """Moves the scale of the BatchNormalization behind a kernel into it."""
        if path in self.folds:
            self.folds[path].absorb(self._model)

    def cluster(self, path: str, values: np.ndarray | None = None) -> None:
        """Clusters one weight, by its own values or by others of its shape; what is zero stays as it is."""
        weight = read_finite(path, self.weights[path])
        clusters = cluster(
            weight if values is None else values,
            self.numbers[path],
            preserve_sparsity=self._sharing.preserve_sparsity,
            channel_axes=self.axes[path],
            choose=find_initialization(self._sharing.initialization),
        )
        shared = clusters.weights
        if self._sharing.preserve_sparsity:
            shared = np.where(weight == 0, weight, shared)  # a negative zero marks a weight that is pruned
        compat.assign(self.weights[path], shared)
        self.clusters[path] = clusters
        self.codebooks[path] = Codebook(Density.of(weight), clusters.error)

    def look_again(self, path: str) -> None:
        """Takes the values that a clustered weight has come to share by training; what clustering cost stays known."""
        weight, error = compat.read(self.weights[path]), self.codebooks[path].error
        clusters = cluster(weight, self.numbers[path], channel_axes=self.axes[path])
        self.clusters[path] = dataclasses.replace(clusters, error=error)

    def reports(self) -> dict[str, ClusterReport]:
        """Path -> what was done to each weight."""
        return {path: self._report(path, clusters) for path, clusters in self.clusters.items()}

    def has_few_values(self, path: str) -> bool:
        """Whether a weight has no more distinct values than it may have, in every channel."""
        weight, axes = compat.read(self.weights[path]), self.axes[path]
        by_channel = np.moveaxis(weight, axes, range(len(axes))).reshape(
            self.most_values(path) // self.numbers[path], -1
        )
        return all(distinct(channel)[0].size <= self.numbers[path] for channel in by_channel)

    def _report(self, path: str, clusters: Clusters) -> ClusterReport:
        counts = np.bincount(clusters.assignment.ravel())
        counts = counts[counts > 0]
        share = counts / counts.sum()
        codebook = counts.size * 8 * clusters.centroids.itemsize
        bits = float(-(share * np.log2(share)).sum() + codebook / clusters.assignment.size)
        fold = self.folds.get(path)
        return ClusterReport(clusters.error, counts.size, bits, fold is not None and fold.scale is not None)


def _validate_number(number: Any) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 2:
        raise ValueError(
            "`number_of_clusters` must be a whole number, at least 2, or a mapping from regexes to such. "
            f"Received: number_of_clusters={number!r}."
        )
