"""The tables of a page: what every file is good for, and what its bytes are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from segopt_callbacks.pages.entries import Latency, Row
from segopt_callbacks.pages.figures import FIGURES, LATENCIES, RATIO, cell, three_digits
from segopt_callbacks.pages.markup import Markup, element, joined, text
from segopt_callbacks.sizes import compare, why

_FEW = 3  # metrics


def metric_names(rows: Iterable[Row]) -> list[str]:
    """The metrics of all rows, each once, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def figures_table(rows: Sequence[Row], names: Sequence[str] | None = None, *, first: str = "") -> Markup:
    """One line for each row: metrics, the figures of `FIGURES`, and latencies where there are any.

    Of many metrics (a score for each class, say) only the first is there; `metrics_table` has all.

    Args:
        rows: of one report, or of several.
        names: what to call them; default: their own names.
        first: heading of the column of names.
    """
    metrics = metric_names(rows)
    metrics = metrics if len(metrics) <= _FEW else metrics[:1]
    latencies = [(key, heading) for key, heading in LATENCIES if any(key in row.latency for row in rows)]
    headings = [*metrics, *(heading for _, heading, _ in FIGURES), *(heading for _, heading in latencies)]
    body = []
    for row, name in zip(rows, names or [row.name for row in rows], strict=True):
        cells = [element("td", cell(row.metrics.get(metric), "{:.4f}")) for metric in metrics]
        cells += [element("td", cell(row.figures.get(key), pattern)) for key, _, pattern in FIGURES]
        cells += [element("td", _milliseconds(row.latency.get(key))) for key, _ in latencies]
        if row.error:
            cells = [element("td", f"failed: {row.error}", colspan=len(headings), class_="words")]
        body.append(element("tr", _name(name, row.file), *cells, class_="failed" if row.error else row.kind))
    return scrolling(head(first, *headings), body)


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


def scrolling(head: Markup, body: Iterable[Markup]) -> Markup:
    """A table that scrolls by itself where it is wider than the page."""
    table = element("table", element("thead", head), element("tbody", *(joined(row, Markup("\n")) for row in body)))
    # A region that scrolls must be within reach of a keyboard.
    return element("div", table, class_="scroll", tabindex=0)


def head(*headings: str) -> Markup:
    """The line above a table."""
    return element("tr", *(element("th", breakable(heading), scope="col") for heading in headings))


def breakable(words: str) -> Markup:
    """Text whose long words may break behind a slash."""
    return Markup(text(words).replace("/", "/<wbr>"))


def _name(name: str, file: str = "") -> Markup:
    return element("th", element("span", name, class_="name"), scope="row", title=file or None)


def _milliseconds(latency: Latency | None) -> Markup | str:
    if latency is None:
        return "-"
    told = []
    if latency.low is not None and latency.high is not None:
        told.append(f"{three_digits(latency.low)} to {three_digits(latency.high)}")
    if latency.ratio is not None:
        told.append(f"{three_digits(latency.ratio)} {RATIO}")
    return joined(three_digits(latency.median), *(element("small", one) for one in told))
