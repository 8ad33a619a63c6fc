"""Runs for TensorBoard's HParams: the settings of a training, and its results."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import tensorflow as tf

from segopt_callbacks.summaries.flat import Setting


def write_results(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Setting],
    results: Mapping[str, float | Sequence[float]],
    *,
    name: str,
    step: int = 0,
) -> None:
    """Writes a run of its own, which is a row of HParams.

    Args:
        folder: of the run.
        settings: name -> value.
        results: tag -> a figure, or one for each epoch.
        name: of the row.
        step: at which single figures stand.
    """
    from tensorboard.plugins.hparams import api

    writer = tf.summary.create_file_writer(os.fspath(folder))
    with writer.as_default():
        api.hparams(dict(settings), trial_id=name)
        for tag, value in results.items():
            series = enumerate(value) if isinstance(value, Sequence) else [(step, value)]
            for at, one in series:
                tf.summary.scalar(tag, one, at)
    writer.close()
