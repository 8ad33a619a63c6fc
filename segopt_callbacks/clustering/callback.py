"""Weight sharing when training ends, or without training: few distinct values in each weight."""

from __future__ import annotations

import warnings
from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.clustering.clustered import ClusteredWeights, ClusterReport, NumberOfClusters, Sharing
from segopt_callbacks.errors import printable
from segopt_callbacks.fit import CompressionCallback, Stage
from segopt_callbacks.model import Filters, require_model
from segopt_callbacks.rules import require_verbose


def cluster_model(
    model: compat.Model,
    number_of_clusters: NumberOfClusters = 16,
    filters: Filters = None,
    *,
    per_channel: bool | int = False,
    preserve_sparsity: bool = True,
    initialization: Any = "optimal",
    fold_batch_norm: bool = True,
) -> dict[str, ClusterReport]:
    """Shares each selected weight of a built model among few values, in place.

    The values are those of least squared error (one-dimensional k-means). Biases and what normalises are not clustered.

    Args:
        model: a built Keras model.
        number_of_clusters: most distinct values in each weight, at least 2; or a mapping from a regex on the weight's
            path to a number, of which the first that matches counts; a weight that none matches is left alone.
        filters: which weights, see `weights.select_weights`. Default: every kernel.
        per_channel: `True` for as many values in each output channel, or the axis whose slices have values of their
            own.
        preserve_sparsity: zeros stay zeros, and zero counts as one of the values.
        initialization: `"optimal"`, or for comparison one of tfmot's, see `initializations.find_initialization`.
        fold_batch_norm: moves the scale of a BatchNormalization behind a kernel into it first, so that converted files,
            which store the product, have as few values; the model's answers do not change by that. Not needed
            `per_channel`.

    Returns:
        path -> error, distinct values and bits per weight.

    Raises:
        ValueError: for an argument outside its range, or weights that are not finite.

    Example:
        >>> import numpy as np
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
        >>> (report,) = cluster_model(model, 16).values()
        >>> len(np.unique(compat.read(model.weights[0]))), report.distinct
        (16, 16)
    """
    sharing = Sharing(number_of_clusters, filters, per_channel, preserve_sparsity, initialization, fold_batch_norm)
    require_model(model)
    inputs = compat.model_input_specs(model) if sharing.needs_graph(model) else None
    return ClusteredWeights(model, sharing.select(model), sharing, inputs).share()


class ClusteringCallback(CompressionCallback):
    """Base of both callbacks that cluster.

    Attributes:
        report: path -> what was done to each weight, once it was.
    """

    stage = Stage.CLUSTER

    def __init__(self, sharing: Sharing, verbose: int) -> None:
        super().__init__()
        require_verbose(verbose)
        self.sharing = sharing
        self.verbose = verbose
        self.report: dict[str, ClusterReport] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        self._weights: dict[str, Any] = {}
        self._clustered: ClusteredWeights | None = None
        self.report = {}
        super().on_train_begin(logs)

    @property
    def needs_inputs(self) -> bool:
        """Whether `prepare` traces the model."""
        return self.sharing.needs_graph(self.model)

    @property
    def clustered(self) -> ClusteredWeights:
        """The weights and their clusters.

        Raises:
            RuntimeError: before the first step of a fit.
        """
        if self._clustered is None:
            raise RuntimeError(
                "Weights have clusters only once a fit has begun. Received: a callback before its first step."
            )
        return self._clustered

    def select(self) -> None:
        """Chooses the weights to cluster."""
        self._weights = self.sharing.select(self.model)
        self.lifecycle.claim(self, self._weights)

    def leave_out(self, paths: set[str]) -> set[str]:
        """Lets go of weights that are not trained for inference, unless a filter or a rule names them."""
        left = self.sharing.not_named(self.model, self._weights, paths)
        self._weights = {path: weight for path, weight in self._weights.items() if path not in left}
        self.lifecycle.unclaim(self, left)
        if self._clustered is not None:
            self._clustered.leave_out(left)
        return left

    def prepare(self) -> None:
        """Makes sure that nobody has promised the zeros that clustering would take, and looks at the model's graph."""
        pruned = self._weights.keys() & self.told.masked.keys()
        if pruned and not self.sharing.preserve_sparsity:
            raise ValueError(
                "Pruned weights must keep their zeros; set preserve_sparsity=True, or give each callback `filters` of "
                f"its own. Received: preserve_sparsity=False for the pruned {', '.join(sorted(pruned))}."
            )
        self._clustered = ClusteredWeights(self.model, self._weights, self.sharing, self.lifecycle.inputs)

    def holds(self) -> bool:
        """Whether each weight has few enough values now."""
        return all(self.clustered.has_few_values(path) for path in self._weights)

    def on_replaced(self) -> None:
        """Says that the weights are clustered again."""
        warnings.warn(
            "Another callback replaced the weights at the end of training (EarlyStopping with "
            "restore_best_weights?); they were clustered again. Let it stand before ours in the list.",
            stacklevel=2,
        )

    def tell(self) -> None:
        """Makes the report, and prints it where it is wanted."""
        self.report = self.clustered.reports()
        self.told.codebooks.update(self.clustered.codebooks)
        self.told.folds.update(self.clustered.folds)
        for path, one in self.report.items() if self.verbose else ():
            line = (
                f"clustered {path}: squared error {one.error:.2e} of the variance, {one.distinct} distinct values, "
                f"{one.bits_per_weight:.2f} bits per weight{', scale of its normalisation folded in' * one.folded}"
            )
            print(printable(line))


class ClusterOnTrainEndCallback(ClusteringCallback):
    """Shares each weight among few values when training ends, before anything is saved or exported.

    Runs after pruning, wherever it stands in the list; zeros stay zeros. See `cluster_model`.

    Args:
        number_of_clusters: most distinct values in each weight, at least 2, or a mapping from regexes to numbers.
        filters: which weights, see `weights.select_weights`. Default: every kernel.
        per_channel: `True` for as many values in each output channel, or an axis.
        preserve_sparsity: zeros stay zeros, and zero counts as one of the values.
        initialization: `"optimal"`, or for comparison one of tfmot's.
        fold_batch_norm: moves the scale of a BatchNormalization behind a kernel into it first.
        verbose: 1 prints what was done to each weight; `report` has it too.

    Raises:
        ValueError: for an argument outside its range.

    Example:
        >>> import numpy as np
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((16, 64), "float32"), np.ones((16, 64), "float32")
        >>> history = model.fit(*data, verbose=0, callbacks=[ClusterOnTrainEndCallback(8)])
        >>> len(np.unique(compat.read(model.weights[0])))
        8
    """

    def __init__(
        self,
        number_of_clusters: NumberOfClusters = 16,
        filters: Filters = None,
        *,
        per_channel: bool | int = False,
        preserve_sparsity: bool = True,
        initialization: Any = "optimal",
        fold_batch_norm: bool = True,
        verbose: int = 0,
    ) -> None:
        sharing = Sharing(number_of_clusters, filters, per_channel, preserve_sparsity, initialization, fold_batch_norm)
        super().__init__(sharing, verbose)

    def finish(self, logs: Any = None) -> None:
        """Clusters the weights."""
        self.clustered.share()
        self.tell()
