"""Measures how sensitive each weight is when training ends."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.data import as_evaluation_data, rehearse, validate_evaluation
from segopt_callbacks.fit import CompressionCallback, Stage
from segopt_callbacks.model import Filters, select_weights, validate_filters
from segopt_callbacks.records import Sensitivity, choose_monitor, validate_monitor
from segopt_callbacks.rules import require_folder, require_verbose
from segopt_callbacks.sensitivity.measuring import layer_sensitivity
from segopt_callbacks.sensitivity.treatments import TREATMENTS, Name, validate_treatments
from segopt_callbacks.summaries import write_sensitivity


class SensitivityCallback(CompressionCallback):
    """Measures how sensitive each weight is when training ends: behind pruning and clustering, and before any export.

    Its place in the list does not matter. `ExportQuantizedCallback` in the same fit puts the table into its reports.
    See `layer_sensitivity`.

    Args:
        evaluation_data: as in `layer_sensitivity`, like all that follow but `log_dir`.
        metrics: name -> Keras metric. Default: the loss and the compiled metrics.
        monitor: the metric by which weights are judged.
        higher_is_better: whether more of it is better.
        treatments: names out of `treatments.TREATMENTS`.
        sparsity: fraction of zeros that `"prune"` makes, in (0, 1).
        number_of_clusters: most distinct values that `"cluster"` leaves.
        filters: which weights.
        max_examples: how many examples are used. Default: all.
        batch_size: of arrays.
        log_dir: TensorBoard's log directory, for the table and a picture of it, as the run `sensitivity`.
        verbose: 0 for silence, 1 for a line for each weight and the table.

    Attributes:
        sensitivity: what was measured, once a fit has ended.

    Raises:
        ValueError: for an argument outside its range; after the first validation of the fit, or else at its end, if it
            is not clear which metric to judge by.
        RuntimeError: when training begins, under a strategy of several workers.

    Example:
        >>> import numpy as np
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((16, 8), "float32"), np.ones((16, 2), "float32")
        >>> sensing = SensitivityCallback(data, treatments=["int8"], verbose=0)
        >>> history = model.fit(*data, verbose=0, callbacks=[sensing])
        >>> sensing.sensitivity.monitor
        'loss'
    """

    stage = Stage.MEASURE

    def __init__(
        self,
        evaluation_data: Any,
        *,
        metrics: Mapping[str, Any] | None = None,
        monitor: str | None = None,
        higher_is_better: bool | None = None,
        treatments: Sequence[Name] | Name = TREATMENTS,
        sparsity: float = 0.8,
        number_of_clusters: int = 8,
        filters: Filters = None,
        max_examples: int | None = None,
        batch_size: int | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        verbose: int = 1,
    ) -> None:
        super().__init__()
        self.treatments = validate_treatments(treatments, sparsity, number_of_clusters)
        validate_evaluation(evaluation_data, metrics, max_examples, batch_size)
        validate_filters(filters)
        require_folder("log_dir", log_dir, or_none=True)
        validate_monitor(monitor, higher_is_better)
        require_verbose(verbose)
        if metrics is not None:
            choose_monitor(list(metrics), monitor, higher_is_better)
        self.evaluation_data = as_evaluation_data(evaluation_data)
        self.metrics = metrics
        self.monitor = monitor
        self.higher_is_better = higher_is_better
        self.sparsity = sparsity
        self.number_of_clusters = number_of_clusters
        self.filters = filters
        self.max_examples = max_examples
        self.batch_size = batch_size
        self.log_dir = log_dir
        self.verbose = verbose
        self.sensitivity: Sensitivity | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.sensitivity = None
        if compat.number_of_workers() > 1:
            raise RuntimeError(
                "Sensitivity is measured by one process; call `layer_sensitivity` in a process of its own, on a model "
                "that has loaded the weights. "
                f"Received: SensitivityCallback and {compat.number_of_workers()} workers."
            )
        super().on_train_begin(logs)

    def select(self) -> None:
        """Makes sure that there are weights to measure."""
        select_weights(self.model, self.filters)

    def rehearse(self) -> None:
        """Tries on one batch what will be measured when the fit has ended."""
        rehearse(self.model, self.evaluation_data, self.metrics, evaluates=self.metrics is None)

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Makes sure that it is clear which metric to judge by, long before the end of the fit."""
        lifecycle = vars(self).get("lifecycle")  # none in an `evaluate` of the user's own
        if lifecycle is not None and self.metrics is None and logs:
            with lifecycle.attached.released_on_error():
                choose_monitor(list(logs), self.monitor, self.higher_is_better)

    def finish(self, logs: Any = None) -> None:
        """Measures, and hands the outcome to the export of the same fit."""
        if self.told.sensitivity is not None:
            warnings.warn(
                "Reports show the outcome of one SensitivityCallback, the last of the list; let one measure all "
                "treatments, or read `sensitivity` of each. Received: several in one fit.",
                stacklevel=2,
            )
        self.sensitivity = self.told.sensitivity = layer_sensitivity(
            self.model,
            self.evaluation_data,
            metrics=self.metrics,
            monitor=self.monitor,
            higher_is_better=self.higher_is_better,
            treatments=self.treatments,
            sparsity=self.sparsity,
            number_of_clusters=self.number_of_clusters,
            filters=self.filters,
            max_examples=self.max_examples,
            batch_size=self.batch_size,
            verbose=self.verbose,
        )
        if self.log_dir is not None:
            write_sensitivity(self.log_dir, self.sensitivity, step=compat.iterations(self.model))
