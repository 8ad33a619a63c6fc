"""Trials for TensorBoard's HParams: a run for each, with its settings and results."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from segopt_callbacks.search.record import Record


def write_run(log_dir: Path, record: Record, monitor: str) -> None:
    """Writes the run of a trial that has a file or a curve.

    Args:
        log_dir: TensorBoard's log directory; the run is a folder in it.
        record: of the trial.
        monitor: name of the metric.
    """
    from tensorboard.plugins.hparams import api

    if record.settings is None or not (record.figures or record.curve):
        return
    name = f"{record.number:04d}-{record.kind}"
    settings = {**record.settings.as_dict(), "seed": record.seed}
    writer = tf.summary.create_file_writer(str(log_dir / name))
    with writer.as_default():
        api.hparams(settings, trial_id=name)
        for epoch, value in enumerate(record.curve):
            tf.summary.scalar(f"epoch/{monitor}", value, step=epoch)
        if record.figures:
            tf.summary.scalar(f"file/{monitor}", record.figures.metric, step=0)
            tf.summary.scalar("file/gzip_bytes", record.figures.bytes, step=0)
        if record.figures and record.figures.latency_ms is not None:
            tf.summary.scalar("file/latency_ms", record.figures.latency_ms, step=0)
    writer.close()
