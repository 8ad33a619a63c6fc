"""What TensorBoard shows of a compression while it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.fit import CompressionCallback, Stage
from segopt_callbacks.model import select_weights
from segopt_callbacks.records import board
from segopt_callbacks.rules import require_folder
from segopt_callbacks.summaries.flat import flat_settings
from segopt_callbacks.summaries.hparams import write_results
from segopt_callbacks.summaries.told import finite_figures, result_scalars, results_record
from segopt_callbacks.summaries.writing import State, write_beginning, write_record, write_state


class CompressionSummaries(CompressionCallback):
    """Writes how sparse and how clustered each weight is to TensorBoard: scalars, histograms and pictures of masks.

    The weights are those that the fit's other callbacks prune or cluster; without such a callback, those that they
    would take by default. TensorBoard's page `Compression`, which comes with this package, shows all of it together,
    and the files that an `ExportQuantizedCallback` of the fit has made.

    The run `compression` of the log directory holds the weights:

    | tag | what |
    |---|---|
    | `all_weights/sparsity` | fraction of zeros over all these weights, in [0, 1] |
    | `all_weights/target_sparsity` | fraction that the schedules ask for now, over all pruned weights |
    | `all_weights/cluster_error` | squared error of clustering, relative to the variance, over all clustered weights |
    | `pruning/sparsity/<path>` | fraction of zeros in one weight |
    | `pruning/target_sparsity/<path>` | fraction that the schedule asks for now; of pruned weights |
    | `pruning/mask/<path>` | picture of the mask, see `pictures.mask_picture`; of pruned weights |
    | `clustering/unique_weights/<path>` | number of distinct values, zero counted as one |
    | `clustering/codebook/<path>` | histogram of the shared values, each once; of clustered weights, once they are |
    | `clustering/cluster_sizes/<path>` | histogram of how many weights share each value, from the lowest on |
    | `clustering/density/<path>` | picture: how the values lay when they were clustered, and the shared values now |
    | `weights/<path>` | histogram of the values |

    Pictures are written with the first, second, fourth, eighth write and so on, and with the last.

    The run `results`, once the fit has ended, is a row of TensorBoard's page HParams:

    | tag | what |
    |---|---|
    | `finished/sparsity` | fraction of zeros over all these weights |
    | `epoch/<name>` | figures of the last epoch, such as `epoch/val_loss` |
    | `export/<format>/<figure>` | of each file: `bytes`, `gzip_bytes`, `latency_ms` (one thread), its metrics |

    Each write shows the weights after all other callbacks have had their turn. The last one of a fit is made when it
    has ended, with the weights finished (pruned and clustered).

    A step is one optimizer update (`optimizer.iterations`), whatever `update_freq` is, so that steps increase over
    several fits and runs of unlike batch sizes can be told apart. If the model's `train_step` leaves the optimizer
    aside, batches are counted instead.

    Args:
        log_dir: TensorBoard's log directory, made where it does not exist.
        update_freq: `"epoch"`, or a number of steps from one write to the next.

    Raises:
        ValueError: for an argument outside its range.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from segopt_callbacks import PruningScheduleCallback
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((16, 8), "float32"), np.ones((16, 4), "float32")
        >>> with tempfile.TemporaryDirectory() as log_dir:
        ...     callbacks = [PruningScheduleCallback(0.75), CompressionSummaries(log_dir)]
        ...     history = model.fit(*data, verbose=0, callbacks=callbacks)
        ...     sorted(os.listdir(log_dir))
        ['compression', 'results']
    """

    stage = Stage.SUMMARIZE

    def __init__(self, log_dir: str | os.PathLike[str], update_freq: str | int = "epoch") -> None:
        super().__init__()
        require_folder("log_dir", log_dir)
        is_number = isinstance(update_freq, int) and not isinstance(update_freq, bool) and update_freq >= 1
        if update_freq != "epoch" and not is_number:
            raise ValueError(
                '`update_freq` must be "epoch" or a number of steps, at least 1. '
                f"Received: update_freq={update_freq!r}."
            )
        self.log_dir = log_dir
        self.update_freq = update_freq
        self._writer: Any = None
        self._last_step = self._writes = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._close()  # of a fit that was interrupted
        self._weights: dict[str, Any] = {}
        self._is_due = False
        super().on_train_begin(logs)

    def prepare(self) -> None:
        """Opens the log, for the weights that the other callbacks have chosen."""
        self._weights = self.told.selected or select_weights(self.model)
        folder = os.path.join(os.fspath(self.log_dir), board.RUN)
        is_chief = compat.is_chief(self.model)
        self._writer = tf.summary.create_file_writer(folder) if is_chief else tf.summary.create_noop_writer()
        self._steps_before = self._last_step - self.lifecycle.step
        self._writes = 0
        with self._writer.as_default():
            write_beginning(self._settings(), step=self._last_step)

    # The other callbacks' hooks of a batch or epoch may follow ours and change the weights: write at the next hook.

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch)
        self._write_if_due()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        before = self._last_step
        self._last_step = max(compat.iterations(self.model), self._steps_before + self.lifecycle.step_after(batch))
        if isinstance(self.update_freq, int):
            self._is_due |= self._last_step // self.update_freq > before // self.update_freq

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._write_if_due()
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._is_due |= self.update_freq == "epoch"

    def finish(self, logs: Any = None) -> None:
        """Writes the finished weights and what came of them, and closes the log."""
        state = self._write(is_last=True)
        results = results_record(self.told.report, finite_figures(logs or {}))
        with self._writer.as_default():
            write_record(board.RESULTS_TAG, results, self._last_step)
        self._close()
        if compat.is_chief(self.model):
            log_dir = os.fspath(self.log_dir)
            write_results(
                os.path.join(log_dir, "results"),
                self._settings(),
                {"finished/sparsity": state.sparsity, **result_scalars(results)},
                name="/".join(Path(os.path.abspath(log_dir)).parts[-2:]),  # equal settings in two places are two rows
                step=self._last_step,
            )

    def _settings(self) -> dict[str, Any]:
        return flat_settings(one for one in self.lifecycle.members if one is not self)

    def _write_if_due(self) -> None:
        if self._is_due:
            self._write()

    def _write(self, *, is_last: bool = False) -> State:
        self._is_due = False
        self._writes += 1
        is_power_of_2 = self._writes & (self._writes - 1) == 0
        values = {path: compat.read(weight) for path, weight in self._weights.items()}
        state = State(values, self.told.masks, self.told.targets, self.told.codebooks)
        with self._writer.as_default():
            write_state(state, step=self._last_step, draws=is_last or is_power_of_2)
        self._writer.flush()  # who watches the training sees it now
        return state

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
