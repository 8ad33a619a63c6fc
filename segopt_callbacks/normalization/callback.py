"""Fresh statistics for BatchNormalization when training ends, once weights are pruned and clustered."""

from __future__ import annotations

import warnings
from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.data import unchanged
from segopt_callbacks.errors import first_line
from segopt_callbacks.fit import CompressionCallback, Stage
from segopt_callbacks.normalization.statistics import reestimate_batch_norm, require_batch_norms, validate_data


class ReestimateBatchNormCallback(CompressionCallback):
    """Refreshes the moving statistics of every BatchNormalization when training ends.

    Pruning and clustering shift what reaches a BatchNormalization, whose moving statistics are those of before. Runs
    behind both, and before anything is saved or exported, wherever it stands in the list. A BatchNormalization whose
    scale was folded into its kernel keeps that scale: its moving mean is refreshed. One that was folded by
    `ClusterScheduleCallback` has trained with its statistics, and keeps them.

    Args:
        data: a `tf.data.Dataset` as `fit` takes it, another iterable of batches, or arrays of inputs.
        batches: how many to read; needed for data without an end. Default: all.

    Example:
        >>> import numpy as np
        >>> from segopt_callbacks import ClusterOnTrainEndCallback
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8), keras.layers.BatchNormalization()])
        >>> model.compile("sgd", "mse")
        >>> data = np.random.default_rng(0).normal(size=(2, 64, 8)).astype("float32")
        >>> callbacks = [ClusterOnTrainEndCallback(4), ReestimateBatchNormCallback(data[0])]
        >>> history = model.fit(*data, verbose=0, callbacks=callbacks)
        >>> answers = model.predict(data[0], verbose=0)
        >>> bool(np.abs(answers.mean(0) - model.layers[-1].beta).max() < 1e-5)
        True
    """

    stage = Stage.NORMALIZE

    def __init__(self, data: Any, batches: int | None = None) -> None:
        super().__init__()
        validate_data(data, batches)
        self.data = data
        self.batches = batches

    def rehearse(self) -> None:
        """Tries it on one batch; what can be read once is not touched."""
        if not hasattr(self.data, "__next__"):
            try:
                with unchanged(self.model):
                    reestimate_batch_norm(self.model, self.data, batches=1)
            except compat.converter_errors() as error:
                raise ValueError(
                    "`data` must be what the model takes, for its statistics to be estimated anew; see its shapes and "
                    f"values. Received: a first batch on which it raises: {first_line(error)}"
                ) from error

    def prepare(self) -> None:
        """Makes sure that there is something to refresh, before training."""
        require_batch_norms(self.model)

    def finish(self, logs: Any = None) -> None:
        """Refreshes the statistics."""
        folds = list(self.told.folds.values())
        frozen = {id(fold.layer) for fold in folds if fold.is_frozen}
        if all(id(layer) in frozen for layer in require_batch_norms(self.model)):
            warnings.warn(
                "There are no statistics to refresh: every BatchNormalization is folded, and has trained with those "
                "that it has since its kernel was clustered; leave ReestimateBatchNormCallback out, or pass "
                "fold_batch_norm=False to ClusterScheduleCallback.",
                stacklevel=2,
            )
            return
        reestimate_batch_norm(self.model, self.data, batches=self.batches)
        for fold in folds:
            fold.hold(self.model)
