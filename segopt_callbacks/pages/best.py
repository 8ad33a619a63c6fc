"""Which file is best, and in which columns: what a page marks, and says in its first sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segopt_callbacks.pages.charts import EQUAL_ARGMAX, headline
from segopt_callbacks.pages.entries import Report, Row
from segopt_callbacks.pages.figures import three_digits
from segopt_callbacks.records import choose_monitor

FLOAT32, FLOAT_BYTES = "float32", 4
KEPT = 0.01  # a file keeps a metric that loses at most this fraction of the dense model's value
RULE = (
    "The best file is the smallest after gzip among those that lose at most 1% of the metric. Dense float32 weights "
    "are 4 bytes for each parameter, without gzip, which saves about 8% of them. Below a figure: the difference from "
    "the first baseline, else from the model in memory; the ratio to the dense weights; the interval of a time."
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


@dataclass(frozen=True)
class Best:
    """The best file of an export.

    Attributes:
        row: of the file.
        measure: the metric by which it was judged.
        value: the file's.
        dense: the row that it stands beside: a baseline, else the model in memory.
        dense_value: its value of the metric, where it has one.
        dense_bytes: of the dense float32 weights, where it is known how many there are.
    """

    row: Row
    measure: str
    value: float | None
    dense: Row | None
    dense_value: float | None
    dense_bytes: int | None


def best_of(report: Report) -> Best | None:
    """The smallest file after gzip that keeps the metric; if none does, the one that loses least."""
    measure = headline(report.rows)
    higher = is_higher_better(measure)
    files = [row for row in report.of_kind("format") if not row.error and row.figures.get("gzip_bytes")]
    if not files:
        return None
    dense = next((row for row in report.rows if row.kind != "format" and measure in row.metrics), None)
    reference = 1.0 if measure == EQUAL_ARGMAX else dense.metrics[measure] if dense else None
    kept = files
    if higher is not None and reference is not None:
        known = [(row, value) for row in files if (value := _value(row, measure)) is not None]
        losses = [((reference - value) * (1 if higher else -1), row) for row, value in known]
        kept = [row for loss, row in losses if loss <= KEPT * abs(reference)]
        kept = kept or [row for loss, row in losses if loss == min(losses, key=lambda one: one[0])[0]] or files
    row = min(kept, key=lambda row: row.figures["gzip_bytes"])
    dense_bytes = FLOAT_BYTES * report.parameters if report.parameters else None
    return Best(row, measure, _value(row, measure), dense, dense.metrics[measure] if dense else None, dense_bytes)


def best_words(report: Report) -> str | None:
    """The first sentence of a page: the best file, how small and fast it is, and how good; `None` without a file.

    >>> entry = {"bytes": 9000, "gzip_bytes": 4000}
    >>> row = Row("int8", "format", "int8.tflite", metrics={"mIoU": 0.75}, figures=entry)
    >>> dense = Row("dense", "baseline", metrics={"mIoU": 0.76})
    >>> print(best_words(Report("net", 10_000, 42, "", (dense, row))))
    `int8.tflite` is 10 times smaller than the dense float32 weights: 4,000 bytes after gzip, against 40,000. Its mIoU \
is 0.7500, that of `dense` is 0.7600.
    """
    best = best_of(report)
    if best is None:
        return None
    told = f"`{best.row.file or best.row.name}` is {_smaller(best)}{_faster(best.row, report)}."
    if best.value is not None:
        told += f" Its {best.measure} is {best.value:.4f}"
        if best.dense is not None and best.dense_value is not None:
            whose = "the model in memory" if best.dense.kind == "model" else f"`{best.dense.name}`"
            told += f", that of {whose} is {best.dense_value:.4f}"
        told += "."
    return told


def _smaller(best: Best) -> str:
    size = int(best.row.figures["gzip_bytes"])
    if best.dense_bytes is None:
        return f"{size:,} bytes large after gzip"
    times = best.dense_bytes / size
    against = f"the dense float32 weights: {size:,} bytes after gzip, against {best.dense_bytes:,}"
    return f"{_times(times)} smaller than {against}" if times >= 1 else f"{_times(1 / times)} larger than {against}"


def _faster(row: Row, report: Report) -> str:
    """How its time stands beside that of `float32`, where both were measured."""
    base = next((one for one in report.of_kind("format") if one.name == FLOAT32), None)
    times = [one.latency.get(_ONE_THREAD) for one in (row, base) if one is not None]
    if row.name == FLOAT32 or len(times) < 2 or times[0] is None or times[1] is None:
        return ""
    ratio = times[0].ratio or times[0].median / times[1].median
    told = f"{three_digits(times[0].median)} ms on one thread, against {three_digits(times[1].median)} ms"
    if ratio <= 1:
        return f", and {_times(1 / ratio)} as fast as `{FLOAT32}` ({told})"
    return f", and takes {_times(ratio)} the time of `{FLOAT32}` ({told})"


def _times(ratio: float) -> str:
    return f"{ratio:.2g} times" if ratio < 10 else f"{ratio:.0f} times"


def _value(row: Row, measure: str) -> float | None:
    return row.figures.get("equal_argmax") if measure == EQUAL_ARGMAX else row.metrics.get(measure)
