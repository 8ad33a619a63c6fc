"""What TensorBoard shows of a compression while it runs."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.arrays import distinct
from segopt_callbacks.fit import CompressionCallback, Stage
from segopt_callbacks.model import select_weights
from segopt_callbacks.records import Codebook, Sensitivity, changes_markdown
from segopt_callbacks.rules import require_folder
from segopt_callbacks.summaries.pictures import bars_picture, density_picture, mask_picture

_BUCKETS = 30  # of a histogram; TensorBoard draws no more


class CompressionSummaries(CompressionCallback):
    """Writes how sparse and how clustered each weight is to TensorBoard: scalars, histograms and pictures of masks.

    The weights are those that the fit's other callbacks prune or cluster; without such a callback, those that they
    would take by default. The data lie in the run `compression` of the log directory:

    | tag | what |
    |---|---|
    | `sparsity/overall` | fraction of zeros over all these weights, in [0, 1] |
    | `sparsity/<path>` | fraction of zeros in one weight |
    | `target_sparsity/<path>` | fraction that the schedule asks for now; of pruned weights |
    | `unique_weights/<path>` | number of distinct values, zero counted as one |
    | `weights/<path>` | histogram of the values |
    | `mask/<path>` | picture of the mask, kept weights dark, see `pictures.mask_picture`; of pruned weights |
    | `codebook/<path>` | histogram of the shared values, each counted once; of clustered weights, once they are |
    | `cluster_sizes/<path>` | histogram of the assignment: how many weights share each value, from the lowest on |
    | `cluster_error/<path>` | squared error of clustering, relative to the weight's variance |
    | `density/<path>` | picture: how the values lay when they were clustered, and the shared values now |

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
        >>> from segopt_callbacks import PruningScheduleCallback
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> data = np.ones((16, 8), "float32"), np.ones((16, 4), "float32")
        >>> with tempfile.TemporaryDirectory() as log_dir:
        ...     callbacks = [PruningScheduleCallback(0.75), CompressionSummaries(log_dir)]
        ...     history = model.fit(*data, verbose=0, callbacks=callbacks)
        ...     os.listdir(log_dir)
        ['compression']
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
        self._last_step = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._close()  # of a fit that was interrupted
        self._weights: dict[str, Any] = {}
        self._is_due = False
        super().on_train_begin(logs)

    def prepare(self) -> None:
        """Opens the log, for the weights that the other callbacks have chosen."""
        self._weights = self.told.selected or select_weights(self.model)
        folder = os.path.join(os.fspath(self.log_dir), "compression")
        is_chief = compat.is_chief(self.model)
        self._writer = tf.summary.create_file_writer(folder) if is_chief else tf.summary.create_noop_writer()
        self._steps_before = self._last_step - self.lifecycle.step

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
        """Writes the finished weights, and closes the log."""
        self._write()
        self._close()

    def _write_if_due(self) -> None:
        if self._is_due:
            self._write()

    def _write(self) -> None:
        self._is_due = False
        values = {path: compat.read(weight) for path, weight in self._weights.items()}
        with self._writer.as_default():
            write_summaries(values, self.told.masks, self.told.targets, step=self._last_step)
            for path, codebook in self.told.codebooks.items():
                write_codebook(path, values[path], codebook, step=self._last_step)
        self._writer.flush()  # who watches the training sees it now

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def write_summaries(
    values: dict[str, np.ndarray], masks: dict[str, np.ndarray], targets: dict[str, float], *, step: int
) -> None:
    """Writes the state of some weights to the default summary writer; for the tags see `CompressionSummaries`.

    Args:
        values: path -> a weight of any shape.
        masks: path -> bool of the weight's shape, True where it is kept; of pruned weights only.
        targets: path -> fraction of zeros that is asked for, in [0, 1).
        step: of training, TensorBoard's horizontal axis.
    """
    zeros = {path: value.size - np.count_nonzero(value) for path, value in values.items()}
    sizes = sum(value.size for value in values.values())
    tf.summary.scalar("sparsity/overall", sum(zeros.values()) / max(sizes, 1), step)
    for path, value in values.items():
        tf.summary.scalar(f"sparsity/{path}", zeros[path] / max(value.size, 1), step)
        tf.summary.scalar(f"unique_weights/{path}", distinct(value)[0].size, step)
        _write_histogram(f"weights/{path}", value, step)
        if path in targets:
            tf.summary.scalar(f"target_sparsity/{path}", targets[path], step)
        if path in masks:
            tf.summary.image(f"mask/{path}", mask_picture(masks[path])[np.newaxis, :, :, np.newaxis], step)


def write_codebook(path: str, value: np.ndarray, codebook: Codebook, *, step: int) -> None:
    """Writes what a clustered weight shares to the default summary writer; for the tags see `CompressionSummaries`.

    Args:
        path: of the weight.
        value: the weight now.
        codebook: what was chosen for it.
        step: of training.
    """
    values, sizes = distinct(value)
    _write_histogram(f"codebook/{path}", values, step)
    _write_buckets(f"cluster_sizes/{path}", sizes, np.arange(sizes.size + 1) - 0.5, step)
    tf.summary.scalar(f"cluster_error/{path}", codebook.error, step)
    picture = density_picture(codebook.density, values)
    tf.summary.image(f"density/{path}", picture[np.newaxis, :, :, np.newaxis], step)


def write_sensitivity(log_dir: str | os.PathLike[str], sensitivity: Sensitivity, *, step: int) -> None:
    """Writes how sensitive each weight is, as the run `sensitivity` of a log directory.

    | tag | what |
    |---|---|
    | `sensitivity/table` | text: the change of the monitored metric, by weight and treatment |
    | `sensitivity/losses` | picture of the table, see `pictures.bars_picture`: a line for each weight, in its order |

    Args:
        log_dir: TensorBoard's log directory.
        sensitivity: what was measured.
        step: of training.
    """
    by_treatment = [list(sensitivity.losses(one).values()) for one in sensitivity.treatments]
    picture = bars_picture(np.array(by_treatment, np.float64).T)
    # A run of its own: TensorBoard reads the files of a run one after another, and none that was left again.
    writer = tf.summary.create_file_writer(os.path.join(os.fspath(log_dir), "sensitivity"))
    with writer.as_default():
        tf.summary.text("sensitivity/table", "\n".join(changes_markdown(sensitivity.entry())), step)
        tf.summary.image("sensitivity/losses", picture[np.newaxis, :, :, np.newaxis], step)
    writer.close()


def _write_histogram(tag: str, value: np.ndarray, step: int) -> None:
    # tf.summary.histogram takes 240 bytes of memory per weight; NumPy counts block by block.
    _write_buckets(tag, *np.histogram(value[np.isfinite(value)], _BUCKETS), step)


def _write_buckets(tag: str, counts: np.ndarray, edges: np.ndarray, step: int) -> None:
    buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)  # (_BUCKETS, 3): left, right, how many
    tf.summary.write(tag, tf.constant(buckets, tf.float64), step, compat.histogram_metadata())
