"""The tables of a page: what every file is good for, and what its bytes are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from segopt_callbacks.markup import Markup, element, head, joined, scrolling
from segopt_callbacks.pages.beside import SIZES, Base
from segopt_callbacks.pages.best import best_rows, is_higher_better
from segopt_callbacks.pages.entries import Latency, Row
from segopt_callbacks.pages.figures import FIGURES, LATENCIES, RATIO, cell, three_digits
from segopt_callbacks.sizes import compare, why

_FEW = 3  # metrics
_BETTER = {  # whether a larger figure is better
    **dict.fromkeys((*SIZES, "entropy_bytes", "largest_difference"), False),
    "equal_argmax": True,
}


def metric_names(rows: Iterable[Row]) -> list[str]:
    """The metrics of all rows, each once, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def figures_table(
    rows: Sequence[Row],
    names: Sequence[str] | None = None,
    *,
    first: str = "",
    beside: Sequence[Base | None] = (),
    is_brief: bool = False,
) -> Markup:
    """One line for each row: metrics, the figures of `FIGURES`, and latencies where there are any.

    Of many metrics (a score for each class, say) only the first is there; `metrics_table` has all. The best file of
    each column is marked.

    Args:
        rows: of one report, or of several.
        names: what to call them; default: their own names.
        first: heading of the column of names.
        beside: for each row, the figures that its own stand beside; default: none.
        is_brief: whether only what a file is judged by is shown: how good, how large and how fast it is.
    """
    columns = _brief_columns(rows) if is_brief else _columns(rows)
    marked = [best_rows(rows, column.value, higher=column.higher) for column in columns]
    body = []
    bases = beside or [None] * len(rows)
    for number, (row, name, base) in enumerate(zip(rows, names or [row.name for row in rows], bases, strict=True)):
        cells = [
            _figure(column, row, base, is_best=number in best) for column, best in zip(columns, marked, strict=True)
        ]
        if row.error:
            cells = [element("td", f"failed: {row.error}", colspan=len(columns), class_="words")]
        body.append(element("tr", _name(name, row.file), *cells, class_="failed" if row.error else row.kind))
    return scrolling(head(first, *(column.heading for column in columns)), body)


@dataclass(frozen=True)
class _Column:
    """One figure of every row: its value, how it is shown, what stands below, and which way is better."""

    heading: str
    value: Callable[[Row], float | None]
    show: Callable[[float], str]
    below: Callable[[Row, Base | None], list[str | None]]
    higher: bool | None


def _columns(rows: Sequence[Row]) -> list[_Column]:
    metrics = metric_names(rows)
    metrics = metrics if len(metrics) <= _FEW else metrics[:1]
    timed = [(key, heading) for key, heading in LATENCIES if any(key in row.latency for row in rows)]
    return [*map(_of_metric, metrics), *(_of_figure(*one) for one in FIGURES), *(_of_latency(*one) for one in timed)]


def _brief_columns(rows: Sequence[Row]) -> list[_Column]:
    """Without metrics, how far answers are from the model's."""
    kept = {"bytes", "gzip_bytes", *(() if metric_names(rows) else ("equal_argmax", "largest_difference"))}
    left_out = {heading for key, heading, _ in FIGURES if key not in kept} | {LATENCIES[1][1]}
    return [one for one in _columns(rows) if one.heading not in left_out]


def _of_metric(name: str) -> _Column:
    def below(row: Row, base: Base | None) -> list[str | None]:
        return [base.of_metric(name, row.metrics.get(name))] if base else []

    return _Column(name, lambda row: row.metrics.get(name), "{:.4f}".format, below, is_higher_better(name))


def _of_figure(key: str, heading: str, pattern: str) -> _Column:
    def below(row: Row, base: Base | None) -> list[str | None]:
        return [base.of_size(key, row.figures.get(key))] if base and key in SIZES else []

    return _Column(heading, lambda row: row.figures.get(key), pattern.format, below, _BETTER.get(key))


def _of_latency(key: str, heading: str) -> _Column:
    def value(row: Row) -> float | None:
        return row.latency[key].median if key in row.latency else None

    def below(row: Row, base: Base | None) -> list[str | None]:
        time = row.latency.get(key)
        return [*_about(time), base.of_latency(key, time.median) if base else None] if time else []

    return _Column(heading, value, three_digits, below, False)


def _figure(column: _Column, row: Row, base: Base | None, *, is_best: bool) -> Markup:
    value = column.value(row)
    if value is None:
        return element("td", "-")
    shown = element("b", column.show(value)) if is_best else column.show(value)
    small = [element("small", one) for one in column.below(row, base) if one]
    return element("td", shown, *small, class_="best" if is_best else None, data_value=f"{value:.9g}")


def metrics_table(rows: Sequence[Row], names: Sequence[str] | None = None, *, first: str = "") -> Markup | None:
    """Every metric of each row; `None` where `figures_table` has them all."""
    metrics = metric_names(rows)
    if len(metrics) <= _FEW:
        return None
    body = []
    for row, name in zip(rows, names or [row.name for row in rows], strict=True):
        if row.metrics:
            cells = [element("td", cell(row.metrics.get(metric), "{:.4f}")) for metric in metrics]
            body.append(element("tr", _name(name, row.file), *cells, class_=row.kind))
    return scrolling(head(first, *metrics), body)


def ledger_table(rows: Sequence[Row]) -> Markup | None:
    """What the bytes of each file are, and why there are so many; `None` where no file was weighed."""
    ledgers = [row.ledger for row in rows if row.ledger is not None]
    if not ledgers:
        return None
    body = []
    for ledger in ledgers:
        numbers = (ledger.graph_bytes, ledger.weight_bytes, ledger.whole_bytes, ledger.gzip_bytes)
        body.append(element("tr", _name(ledger.path), *(element("td", f"{number:,}") for number in numbers)))
    words = [element("li", element("b", ledger.path), f": {why(ledger)}.") for ledger in ledgers]
    comparison = compare(ledgers)
    return joined(
        scrolling(head("bytes", "graph", "weights", "whole", "gzip"), body),
        element("h3", "Why"),
        element("ul", *words, element("li", f"{comparison}.") if comparison else None),
    )


def weights_table(row: Row) -> Markup:
    """Every weight of one file."""
    body = []
    for weight in row.weights:
        share = weight.zeros / weight.elements if weight.elements else 0.0
        values = ("x".join(map(str, weight.shape)), weight.dtype, f"{share:.4f}", f"{weight.distinct:,}")
        body.append(element("tr", _name(weight.name), *(element("td", one) for one in values)))
    return scrolling(head("weight", "shape", "dtype", "zeros", "distinct"), body)


def _name(name: str, file: str = "") -> Markup:
    return element("th", element("span", name, class_="name"), scope="row", title=file or None)


def _about(latency: Latency) -> list[str]:
    told = []
    if latency.low is not None and latency.high is not None:
        told.append(f"{three_digits(latency.low)} to {three_digits(latency.high)}")
    if latency.ratio is not None:
        told.append(f"{three_digits(latency.ratio)} {RATIO}")
    return told
