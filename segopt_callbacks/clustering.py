"""Weight sharing: few distinct values in each weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.centroids import cluster
from segopt_callbacks.lifecycle import CompressionCallback, Stage
from segopt_callbacks.weights import Filters, read_finite, select_weights, validate_filters


def cluster_model(
    model: Any, number_of_clusters: int = 16, filters: Filters = None, *, preserve_sparsity: bool = True
) -> dict[str, float]:
    """Shares each selected weight of a built model among few values, in place.

    The values are those of least squared error (one-dimensional k-means). Biases and normalisation weights stay.

    Args:
        model: a built Keras model.
        number_of_clusters: most distinct values in each weight, at least 2.
        filters: which weights, see `weights.select_weights`.
        preserve_sparsity: zeros stay zeros, and zero counts as one of the values.

    Returns:
        path -> squared error relative to the weight's variance, 0 where nothing was lost.

    Raises:
        ValueError: for an argument outside its range, or weights that are not finite.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
        >>> errors = cluster_model(model, 16)
        >>> len(np.unique(compat.read(model.weights[0])))
        16
    """
    _validate(number_of_clusters)
    return _cluster(select_weights(model, filters), number_of_clusters, preserve_sparsity)


class ClusterOnTrainEndCallback(CompressionCallback):
    """Shares each weight among few values when training ends, before anything is saved or exported.

    Runs after pruning, wherever it stands in the list; zeros stay zeros. See `cluster_model`.

    Args:
        number_of_clusters: most distinct values in each weight, at least 2.
        filters: which weights, see `weights.select_weights`. Default: every kernel.
        preserve_sparsity: zeros stay zeros, and zero counts as one of the values.
        verbose: 1 prints the error of each weight.

    Raises:
        ValueError: for an argument outside its range.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((16, 64), "float32"), np.ones((16, 64), "float32")
        >>> history = model.fit(*data, verbose=0, callbacks=[ClusterOnTrainEndCallback(8)])
        >>> len(np.unique(compat.read(model.weights[0])))
        8
    """

    stage = Stage.CLUSTER

    def __init__(
        self,
        number_of_clusters: int = 16,
        filters: Filters = None,
        *,
        preserve_sparsity: bool = True,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        _validate(number_of_clusters)
        validate_filters(filters)
        self.number_of_clusters = number_of_clusters
        self.filters = filters
        self.preserve_sparsity = preserve_sparsity
        self.verbose = verbose

    def on_train_begin(self, logs: Any = None) -> None:
        self._weights: dict[str, Any] = {}
        super().on_train_begin(logs)

    def select(self) -> None:
        """Chooses the weights to cluster."""
        self._weights = select_weights(self.model, self.filters)
        self.lifecycle.claim(self, self._weights)

    def prepare(self) -> None:
        """Makes sure that nobody has promised the zeros that clustering would take."""
        pruned = self._weights.keys() & self.lifecycle.masks.keys()
        if pruned and not self.preserve_sparsity:
            raise ValueError(
                "Pruned weights must keep their zeros; set preserve_sparsity=True, or give each callback `filters` of "
                f"its own. Received: preserve_sparsity=False for the pruned {', '.join(sorted(pruned))}."
            )

    def finish(self, logs: Any = None) -> None:
        """Clusters the weights."""
        errors = _cluster(self._weights, self.number_of_clusters, self.preserve_sparsity)
        if self.verbose:
            for path, error in errors.items():
                print(f"clustered {path}: squared error {error:.2e} of the variance")

    def holds(self) -> bool:
        """Whether each weight has few enough values now."""
        return all(np.unique(compat.read(weight)).size <= self.number_of_clusters for weight in self._weights.values())


def _validate(number_of_clusters: int) -> None:
    if isinstance(number_of_clusters, bool) or not isinstance(number_of_clusters, int) or number_of_clusters < 2:
        raise ValueError(
            "`number_of_clusters` must be a whole number, at least 2. "
            f"Received: number_of_clusters={number_of_clusters!r}."
        )


def _cluster(weights: dict[str, Any], number_of_clusters: int, preserve_sparsity: bool) -> dict[str, float]:
    errors = {}
    for path, weight in weights.items():
        before = read_finite(path, weight)
        after = cluster(before, number_of_clusters, preserve_sparsity=preserve_sparsity).weights
        compat.assign(weight, after)
        variance = float(np.var(before, dtype=np.float64))
        errors[path] = float(np.mean((before.astype(np.float64) - after) ** 2)) / variance if variance else 0.0
    return errors
