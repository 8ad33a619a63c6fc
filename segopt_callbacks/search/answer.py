"""What a search has found, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segopt_callbacks.search.demand import Demand, Figures
from segopt_callbacks.search.record import Record
from segopt_callbacks.search.settings import Settings
from segopt_callbacks.search.turn import confirmation_of, dense_metric


@dataclass(frozen=True)
class SearchResult:
    """The answer of `search_compression`.

    Attributes:
        found: whether a model meets the demand on both seeds.
        message: the answer, or how near the search came, in one sentence.
        path: the file: of the answer, or of the trial that came nearest; `None` where no trial gave a file.
        settings: of that trial.
        first: figures of that file, which trained by the seed of the search.
        second: those of the same settings on the second seed; `None` where they were not trained again.
        second_path: the file of the second seed, likewise.
        trials: every trial of the study, as in `study.json`.
    """

    found: bool
    message: str
    path: Path | None
    settings: Settings | None
    first: Figures | None
    second: Figures | None
    second_path: Path | None
    trials: tuple[Record, ...]


def answer(
    records: Sequence[Record],
    demand: Demand,
    monitor: str,
    output_dir: Path,
    confirmed: Record | None,
    seeds: tuple[int, int],
) -> SearchResult:
    """The answer of a search that has ended.

    Args:
        records: every trial.
        demand: that was to be met.
        monitor: name of the metric.
        output_dir: of the search.
        confirmed: the trial that met the demand on both seeds, if there is one.
        seeds: of the search, and of the confirmation.
    """
    chosen = confirmed or _nearest(records, demand, seeds[0])
    second = confirmation_of(records, chosen) if chosen else None
    first_figures = chosen.figures if chosen else None
    second_figures = second.figures if second else None
    path, second_path = _file(output_dir, chosen), _file(output_dir, second)
    if chosen is None or first_figures is None:
        why = next((one.why for one in reversed(records) if one.why), "every trial was stopped")
        message = f"No model meets {demand.told()}, and no trial gave a file: {why}."
    else:
        figures = _figures_told(monitor, first_figures, second_figures, seeds)
        settings = chosen.settings.told() if chosen.settings else ""
        if confirmed:
            message = f"{path} meets {demand.told()} on two seeds: {figures}; {settings}."
        else:
            short = _short(records, demand, monitor, chosen, second)
            message = f"No model meets {demand.told()} on two seeds. Nearest is {path}, {short}: {figures}; {settings}."
    return SearchResult(
        confirmed is not None,
        message,
        path,
        chosen.settings if chosen else None,
        first_figures,
        second_figures,
        second_path,
        tuple(records),
    )


def _file(output_dir: Path, record: Record | None) -> Path | None:
    """The file of a trial, if it gave one."""
    if record is None or record.figures is None or record.settings is None:
        return None
    return output_dir / record.folder / f"{record.settings.format}.tflite"


def _figures_told(monitor: str, first: Figures, second: Figures | None, seeds: tuple[int, int]) -> str:
    """Both seeds' figures.

    >>> _figures_told("mIoU", Figures(38_120, 0.7412), Figures(38_400, 0.7365), (0, 1))
    '38,120 bytes after gzip and mIoU 0.7412 (seed 0), 38,400 bytes and 0.7365 (seed 1)'
    """
    latency = "" if first.latency_ms is None else f", {first.latency_ms:.3g} ms"
    told = f"{first.bytes:,} bytes after gzip{latency} and {monitor} {first.metric:.4f}"
    if second is None:
        return f"{told} (seed {seeds[0]})"
    latency = "" if second.latency_ms is None else f", {second.latency_ms:.3g} ms"
    return f"{told} (seed {seeds[0]}), {second.bytes:,} bytes{latency} and {second.metric:.4f} (seed {seeds[1]})"


def _nearest(records: Sequence[Record], demand: Demand, seed: int) -> Record | None:
    """The trial that misses the demand by least, over both seeds where it has trained on both."""

    def missed(one: Record) -> tuple[bool, float]:
        second = confirmation_of(records, one)
        by = [max(demand.misses(one.figures, dense_metric(records, one.seed)).values(), default=0.0)]  # type: ignore[arg-type]
        if second is not None and second.figures is not None:
            by.append(max(demand.misses(second.figures, dense_metric(records, second.seed)).values(), default=0.0))
        return second is not None and second.figures is None, max(by)

    with_files = [one for one in records if one.kind == "search" and one.figures is not None]
    return min(with_files, key=missed, default=None)


def _short(records: Sequence[Record], demand: Demand, monitor: str, chosen: Record, second: Record | None) -> str:
    """By how much the nearest trial misses what."""
    for record in (chosen, second):
        if record is None or record.figures is None:
            continue
        dense, figures, parts = dense_metric(records, record.seed), record.figures, []
        misses = demand.misses(figures, dense)
        needed = demand.needed_metric(dense)
        if "metric" in misses and needed is not None:
            parts.append(f"{demand.shortfall(figures.metric, needed):.4f} short in {monitor}")
        if "bytes" in misses and demand.max_bytes is not None:
            parts.append(f"{figures.bytes - demand.max_bytes:,} bytes too large")
        if "latency" in misses and figures.latency_ms is not None and demand.max_latency_ms is not None:
            parts.append(f"{figures.latency_ms - demand.max_latency_ms:.3g} ms too slow")
        if parts:
            seed = "" if record is chosen else " on the second seed"
            return f"{' and '.join(parts)}{seed}"
    return "which gave no file on the second seed"
