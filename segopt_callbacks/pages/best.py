"""Which file is best, and in which columns: what a page marks, and says in its first sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segopt_callbacks.errors import printable
from segopt_callbacks.pages.charts import EQUAL_ARGMAX, headline
from segopt_callbacks.pages.entries import Report, Row
from segopt_callbacks.pages.reading import parse
from segopt_callbacks.records import choose_monitor

FLOAT32, FLOAT_BYTES = "float32", 4
KEPT = 0.01  # a file keeps a metric that loses at most this fraction of the dense model's value
ALIKE = 1.1  # times the fastest: what two runs of a benchmark differ by
RULE = (
    "The best file is the fastest of those that lose at most 1% of the metric, the smallest where several are as fast. "
    "Dense float32 weights are 4 bytes for each parameter, without gzip. Below a figure: the difference from the first "
    "baseline, else from the model in memory; the ratio to the dense weights; the interval of a time."
)
_ONE_THREAD = "one_thread"


def is_higher_better(metric: str) -> bool | None:
    """Whether more of a metric is better, as its name tells; `None` where it does not.

    >>> is_higher_better("mIoU"), is_higher_better("loss"), is_higher_better("water")
    (True, False, None)
    """
    if metric == EQUAL_ARGMAX:
        return True
    try:
        return choose_monitor([metric], metric, None)[1]
    except ValueError:
        return None


def best_rows(rows: Sequence[Row], value_of: Callable[[Row], float | None], *, higher: bool | None) -> set[int]:
    """Numbers of the rows of files that have the best value of a column; none where all are equal, or it is not known.

    >>> rows = [Row("a", "format", figures={"bytes": 2}), Row("b", "format", figures={"bytes": 1})]
    >>> best_rows(rows, lambda row: row.figures.get("bytes"), higher=False)
    {1}
    """
    known = {
        number: value
        for number, row in enumerate(rows)
        if row.kind == "format" and not row.error and (value := value_of(row)) is not None
    }
    if higher is None or len(set(known.values())) < 2:
        return set()
    best = max(known.values()) if higher else min(known.values())
    return {number for number, value in known.items() if value == best}


def best_of(report: Report) -> Row | None:
    """The smallest of the fastest files that keep the metric; where none was timed, the smallest that keeps it.

    If no file keeps the metric, those count that lose least.
    """
    measure = headline(report.rows)
    kept = _kept(
        [row for row in report.of_kind("format") if not row.error and row.figures.get("bytes")], report, measure
    )
    times = [row.latency[_ONE_THREAD].median for row in kept if _ONE_THREAD in row.latency]
    fast = [row for row in kept if not times or _ONE_THREAD in row.latency]
    fast = [row for row in fast if not times or row.latency[_ONE_THREAD].median <= ALIKE * min(times)]
    return min(fast, key=lambda row: row.figures["bytes"], default=None)


def best_words(report: Report) -> str | None:
    """A sentence that a person understands: the best file, how small and fast it is, and how good; `None` without one.

    It is the first of a page, and the last of an export.

    >>> entry = {"bytes": 9000, "gzip_bytes": 4000}
    >>> row = Row("int8", "format", "int8.tflite", metrics={"mIoU": 0.75}, figures=entry)
    >>> dense = Row("dense", "baseline", metrics={"mIoU": 0.76})
    >>> print(best_words(Report("net", 10_000, 42, "", (dense, row))))
    int8.tflite: 9.0 kB (4.0 kB after gzip), 4.4 times smaller than the dense float32 weights; mIoU 0.750 (dense 0.760)
    """
    best = best_of(report)
    if best is None:
        return None
    measure = headline(report.rows)
    packed = best.figures.get("gzip_bytes")
    told = f"{best.file or best.name}: {_size(best.figures['bytes'])}"
    told += f" ({_size(packed)} after gzip)" if packed else ""
    told += _smaller(best, report.parameters) + _faster(best, report)
    if (value := _value(best, measure)) is not None:
        told += f"; {measure} {value:.3f}{_beside(report, measure)}"
    return told


def headline_of(report: Mapping[str, Any]) -> str:
    """The sentence of `best_words` of a report as `export_model` returns it; empty without a file."""
    return printable(best_words(parse(report, with_weights=False)) or "")


def _kept(files: list[Row], report: Report, measure: str) -> list[Row]:
    """The files that keep the metric, or else those that lose least; all where it is not known what is better."""
    higher, dense = is_higher_better(measure), _dense(report, measure)
    reference = 1.0 if measure == EQUAL_ARGMAX else dense.metrics[measure] if dense else None
    known = [(row, value) for row in files if (value := _value(row, measure)) is not None]
    if higher is None or reference is None or not known:
        return files
    losses = [((reference - value) * (1 if higher else -1), row) for row, value in known]
    kept = [row for loss, row in losses if loss <= KEPT * abs(reference)]
    least = min(loss for loss, _ in losses)
    return kept or [row for loss, row in losses if loss == least]


def _dense(report: Report, measure: str) -> Row | None:
    """The first baseline that has the metric, else the model in memory."""
    return next((row for row in report.rows if row.kind != "format" and measure in row.metrics), None)


def _beside(report: Report, measure: str) -> str:
    """The metric of all baselines in brackets, of the model in memory where there is none."""
    known = [row for row in report.of_kind("baseline") if measure in row.metrics]
    known = known or [row for row in report.of_kind("model") if measure in row.metrics]
    return f" ({', '.join(f'{row.name} {row.metrics[measure]:.3f}' for row in known)})" if known else ""


def _size(number: float) -> str:
    return f"{number / 1e6:.2f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"


def _smaller(best: Row, parameters: int | None) -> str:
    """Its bytes beside those of dense weights; files and weights both as they are, without gzip."""
    if not parameters:
        return ""
    times = FLOAT_BYTES * parameters / best.figures["bytes"]
    told = f"{times:.1f} times smaller than" if times > 1 else f"{1 / times:.1f} times as large as"
    return f", {told} the dense float32 weights"


def _faster(best: Row, report: Report) -> str:
    """How its time stands beside that of `float32`, where both were measured."""
    ours = best.latency.get(_ONE_THREAD)
    base = next((row.latency.get(_ONE_THREAD) for row in report.of_kind("format") if row.name == FLOAT32), None)
    if best.name == FLOAT32 or ours is None or base is None:
        return ""
    return f", {1 / (ours.ratio or ours.median / base.median):.1f} times as fast as {FLOAT32}"


def _value(row: Row, measure: str) -> float | None:
    return row.figures.get("equal_argmax") if measure == EQUAL_ARGMAX else row.metrics.get(measure)
