"""The columns of a report."""

from __future__ import annotations

from typing import Any

FIGURES = (  # key in an entry, heading, format
    ("bytes", "bytes", "{:,}"),
    ("gzip_bytes", "gzip bytes", "{:,}"),
    ("entropy_bytes", "entropy bound", "{:,}"),
    ("largest_difference", "largest diff.", "{:.2e}"),
    ("equal_argmax", "equal argmax", "{:.4f}"),
    ("zeros", "zeros", "{:.4f}"),
    ("max_distinct_per_channel", "distinct/channel", "{}"),
)
LATENCIES = (  # key in `latency_ms`, heading
    ("one_thread", "ms, 1 thread"),
    ("all_threads", "ms, all threads"),
)
RATIO = "of float32"  # heading of `ratio_to_float32` in an entry of `latency_ms`
EXPLANATION = (
    "`bytes` is the whole file or folder, `gzip bytes` the same through `gzip -9` (file by file), `entropy bound` "
    "what an ideal coder would need for its weights: which value stands where, and each value once. Differences are "
    "between the file's outputs and those of the model in memory, on the same data; `equal argmax` is the fraction of "
    "pixels (or examples) of equal class, in the output that has the fewest, where outputs have classes. Figures of "
    "weights count the same in every row: the weights of rank 2 or more that the model multiplies by, no tables whose "
    "rows are looked up or added, and no biases; channels that were removed are in the model's row alone. `zeros` is "
    "the fraction of zeros among them, as stored, and "
    "`distinct/channel` the largest number of distinct stored values in one output channel."
)


def three_digits(value: float) -> str:
    """A measured figure as text, as long as its neighbours.

    >>> three_digits(14.0), three_digits(0.3), three_digits(1234.5)
    ('14.0', '0.300', '1,234')
    """
    return f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:,.0f}"


def cell(value: Any, pattern: str) -> str:
    """A figure as text, `-` where there is none.

    >>> cell(1234, "{:,}"), cell(None, "{:,}")
    ('1,234', '-')
    """
    return "-" if value is None or isinstance(value, list | dict) else pattern.format(value)
