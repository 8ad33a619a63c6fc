"""Trials for TensorBoard's HParams: a run for each, with its settings and results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segopt_callbacks.search.record import Record
from segopt_callbacks.summaries import write_results


def write_run(log_dir: Path, record: Record, monitor: str) -> None:
    """Writes the run of a trial that has a file or a curve.

    Args:
        log_dir: TensorBoard's log directory; the run is a folder in it.
        record: of the trial.
        monitor: name of the metric.
    """
    if record.settings is None or not (record.figures or record.curve):
        return
    name = f"{record.number:04d}-{record.kind}"
    settings = {**record.settings.as_dict(), "seed": record.seed}
    results: dict[str, float | Sequence[float]] = {f"epoch/{monitor}": record.curve}
    if record.figures:
        results |= {f"file/{monitor}": record.figures.metric, "file/gzip_bytes": record.figures.bytes}
        if record.figures.latency_ms is not None:
            results["file/latency_ms"] = record.figures.latency_ms
    write_results(log_dir / name, settings, results, name=name)
