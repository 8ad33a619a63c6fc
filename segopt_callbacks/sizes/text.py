"""What the size ledger says: a table, and in words why two of its numbers differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segopt_callbacks.errors import printable

COLUMNS = ("graph", "weights", "optimizer", "whole", "gzip")
_WORTH_A_WORD = 0.05  # of the whole: optimizer state and second copies below it are not mentioned
_GZIP_FOUND_SOMETHING = 0.8  # gzip bytes of the whole; float32 weights as trained keep about 0.93


@dataclass(frozen=True)
class Ledger:
    """The bytes of one model: `whole_bytes = graph_bytes + weight_bytes + optimizer_bytes`.

    Attributes:
        path: the file, or the folder of a SavedModel.
        format: `saved_model`, `graph` (a bare `saved_model.pb`), `keras`, `h5`, `tflite` or `onnx`.
        graph_bytes: everything but values: operations, names, the format's own tables.
        weight_bytes: values of variables and constants, as stored.
        optimizer_bytes: optimizer state, which inference never reads.
        whole_bytes: all files together, as `os.stat` counts them.
        gzip_bytes: what `gzip -9` makes of them.
        duplicate_bytes: share of `weight_bytes` that is a second copy of other weights.
        dtype: that of most weight bytes, empty without weights.
        absent_variables: variables that the graph reads, but none of these files holds.
        constant_bytes: share of `weight_bytes` in a SavedModel's graph file instead of variables/.
    """

    path: str
    format: str
    graph_bytes: int
    weight_bytes: int
    optimizer_bytes: int
    whole_bytes: int
    gzip_bytes: int
    duplicate_bytes: int
    dtype: str
    absent_variables: int
    constant_bytes: int


def readable(size_bytes: int) -> str:
    """Bytes in the unit that `ls -l --si` would take, 1 MB = 1,000,000 bytes.

    >>> readable(31_104_528), readable(2_804), readable(12)
    ('31.1 MB', '2.8 kB', '12 bytes')
    """
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"


def why(ledger: Ledger) -> str:
    """One line that says why the numbers of one model differ.

    >>> why(Ledger("m.tflite", "tflite", 2000, 8000, 0, 10_000, 3000, 0, "int8", 0, 0))[:52]
    '8.0 kB of it are weights (int8), 2.0 kB are the grap'
    """
    reasons = [_where_the_weights_are(ledger)]
    if ledger.optimizer_bytes > _WORTH_A_WORD * ledger.whole_bytes:
        reasons.append(f"{readable(ledger.optimizer_bytes)} are optimizer state, which inference never reads")
    if ledger.duplicate_bytes > _WORTH_A_WORD * ledger.whole_bytes:
        cause = " (`model.export` writes every weight twice)" if ledger.format == "saved_model" else ""
        reasons.append(f"{readable(ledger.duplicate_bytes)} of the weights are second copies of others{cause}")
    if ledger.weight_bytes > ledger.whole_bytes / 2:
        if ledger.gzip_bytes < _GZIP_FOUND_SOMETHING * ledger.whole_bytes:
            reasons.append("gzip is smaller because values repeat (zeros, clusters, few levels, copies)")
        else:
            reasons.append("gzip saves little because nearly every value is different")
    return "; ".join(reasons)


def _where_the_weights_are(ledger: Ledger) -> str:
    weights, graph = readable(ledger.weight_bytes), readable(ledger.graph_bytes)
    if ledger.format == "graph" and ledger.absent_variables:
        place = Path(ledger.path).parent / "variables"
        text = f"this is the graph alone: the values of its {ledger.absent_variables} variables are not in this file"
        return text + (f" but in {place}; weigh the folder" if place.is_dir() else ", and no variables/ is beside it")
    if ledger.absent_variables:
        return f"variables/ is missing: the graph reads {ledger.absent_variables} variables whose values are not here"
    if not ledger.weight_bytes:
        return "it holds no weights, only the graph"
    if ledger.format == "saved_model":
        if ledger.constant_bytes > ledger.weight_bytes / 2:
            return f"saved_model.pb holds graph ({graph}) and weights ({weights}), which are constants of the graph"
        return f"saved_model.pb and the indexes take {graph}; the {weights} of {ledger.dtype} weights are in variables/"
    return f"{weights} of it are weights ({ledger.dtype}), {graph} are the graph"


def compare(ledgers: Sequence[Ledger]) -> str:
    """One line that says why the largest of several models is larger than the smallest; empty for fewer than two."""
    if len(ledgers) < 2:
        return ""
    small, *_, large = sorted(ledgers, key=lambda ledger: ledger.whole_bytes)
    if large.whole_bytes == small.whole_bytes or not small.whole_bytes:
        return ""
    ratio = large.whole_bytes / small.whole_bytes
    text = f"{printable(large.path)} is {ratio:.1f} times the size of {printable(small.path)}: "
    if not small.weight_bytes or (small.absent_variables and small.weight_bytes < large.weight_bytes):
        return text + f"the latter holds no weights, the former {readable(large.weight_bytes)} of them"
    reasons = []
    if large.dtype != small.dtype:
        reasons.append(f"{large.dtype} values beside {small.dtype}")
    if large.optimizer_bytes - small.optimizer_bytes > _WORTH_A_WORD * large.whole_bytes:
        reasons.append(f"{readable(large.optimizer_bytes)} of optimizer state")
    if large.duplicate_bytes - small.duplicate_bytes > _WORTH_A_WORD * large.whole_bytes:
        reasons.append(f"{readable(large.duplicate_bytes)} of weights stored twice")
    weights = f"{readable(large.weight_bytes)} of weights beside {readable(small.weight_bytes)}"
    return text + ", ".join([weights, *reasons])


def table(ledgers: Sequence[Ledger]) -> str:
    """The ledgers as text: bytes in columns, and below each model why they differ."""
    names = [printable(ledger.path) for ledger in ledgers]
    width = max(map(len, ["bytes", *names]))
    lines = ["bytes".ljust(width) + "".join(column.rjust(13) for column in COLUMNS)]
    for name, ledger in zip(names, ledgers, strict=True):
        numbers = (
            ledger.graph_bytes,
            ledger.weight_bytes,
            ledger.optimizer_bytes,
            ledger.whole_bytes,
            ledger.gzip_bytes,
        )
        lines.append(name.ljust(width) + "".join(f"{number:13,}" for number in numbers))
        lines.append(f"  why: {printable(why(ledger))}")
    comparison = printable(compare(ledgers))
    return "\n".join([*lines, comparison] if comparison else lines)
