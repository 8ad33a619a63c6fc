"""`report.json` -> `Report`. Believes nothing that it reads: types, lengths and numbers are checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segopt_callbacks.pages import values
from segopt_callbacks.pages.entries import Latency, Report, Row, Weight, Worst
from segopt_callbacks.pages.figures import FIGURES, LATENCIES
from segopt_callbacks.pages.made import parse_made
from segopt_callbacks.pages.outputs import parse_outputs
from segopt_callbacks.pages.sensitivity import parse_sensitivity
from segopt_callbacks.sizes import CorruptFileError, Ledger

_MOST_BYTES = 64 << 20  # of a report; a thousand weights in thirteen formats take 6 MB
_MOST_VALUES = 2_000_000  # in it, each of which becomes an object
_LEDGER_NUMBERS = (
    "graph_bytes",
    "weight_bytes",
    "optimizer_bytes",
    "whole_bytes",
    "gzip_bytes",
    "duplicate_bytes",
    "absent_variables",
    "constant_bytes",
)


def read_report(path: Path, *, with_weights: bool = True) -> Report:
    """Reads a `report.json`.

    Args:
        path: a regular file.
        with_weights: whether the rows of the weight audit are wanted.

    Raises:
        CorruptFileError: if it is no report of an export, or damaged.
        OSError: if it cannot be read.
    """
    return parse(read_json(path), with_weights=with_weights)


def read_json(path: Path) -> Any:
    """Reads a JSON file of ours, of bounded size.

    Raises:
        CorruptFileError: if it is no regular file, no JSON, or too large.
        OSError: if it cannot be read.
    """
    if not path.is_file():  # a pipe would be waited for, for ever
        path.stat()
        raise CorruptFileError("it is no regular file")
    with path.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise CorruptFileError(f"it has more than {_MOST_BYTES:,} bytes")
    if sum(map(content.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise CorruptFileError(f"it holds more than {_MOST_VALUES:,} values")
    try:
        return json.loads(content, parse_constant=values.refuse)
    except RecursionError as error:
        raise CorruptFileError("its values are nested too deeply") from error
    except CorruptFileError:
        raise
    except ValueError as error:
        raise CorruptFileError(f"it is no JSON ({error})") from error


def parse(report: Any, *, with_weights: bool = True) -> Report:
    """Checks a report.

    Args:
        report: as `export_model` returns it; keys that are not known are ignored, most of the others may be missing.
        with_weights: whether the rows of the weight audit are wanted.

    Raises:
        CorruptFileError: naming what is not as it should be.

    Example:
        >>> parse({"model": {"name": "net"}, "formats": {"int8": {"status": "ok", "bytes": 9}}}).rows[1].figures
        {'bytes': 9}
    """
    whole = values.mapping(report, "a report")
    if not {"model", "formats"} <= set(whole):
        raise CorruptFileError("it is no report of an export: `model` and `formats` are missing")
    verification = values.mapping(whole.get("verification"), "`verification`")
    fingerprint = values.mapping(verification.get("fingerprint"), "`fingerprint`")
    metadata = values.mapping(whole.get("metadata"), "`metadata`")
    model = values.mapping(whole["model"], "`model`")
    rows = [
        *_rows(whole.get("baselines"), "baseline", with_weights),
        _row("model", "model", model, with_weights),
        *_rows(whole.get("formats"), "format", with_weights),
    ]
    return Report(
        model=values.text(model.get("name")),
        parameters=values.count(model.get("parameters"), "`parameters`"),
        examples=values.count(verification.get("examples"), "`examples`") or 0,
        data=values.text(verification.get("data")),
        rows=tuple(rows),
        warnings=values.texts(whole.get("warnings"), "`warnings`"),
        palette=_palette(metadata.get("palette")),
        classes=values.texts(metadata.get("classes"), "`classes`"),
        about_latency=values.text(values.mapping(whole.get("latency"), "`latency`").get("about")),
        sensitivity=parse_sensitivity(whole.get("sensitivity")),
        inputs=values.text(fingerprint.get("inputs")),
        targets=values.text(fingerprint.get("targets")),
        earlier_files=values.texts(whole.get("earlier_files"), "`earlier_files`"),
        made=parse_made(whole.get("made")),
    )


def _rows(value: Any, kind: str, with_weights: bool) -> list[Row]:
    entries = values.mapping(value, f"the {kind}s")
    if len(entries) > values.MOST_ENTRIES:
        raise CorruptFileError(f"it holds more than {values.MOST_ENTRIES:,} {kind}s")
    return [
        _row(values.text(name), kind, values.mapping(entry, f"a {kind}"), with_weights)
        for name, entry in entries.items()
    ]


def _row(name: str, kind: str, entry: Mapping[str, Any], with_weights: bool) -> Row:
    weights = values.sequence(entry.get("weights"), "`weights`") if with_weights else ()
    warnings = values.texts(entry.get("warnings"), "`warnings`")
    failed = entry.get("status") == "failed"
    if failed and entry.get("earlier_file_kept"):
        warnings += ("an earlier file of this format is still in the folder, as it was",)
    return Row(
        name=name,
        kind=kind,
        file=values.text(entry.get("file")),
        error=(values.text(entry.get("error")) or "no cause is given") if failed else "",
        warnings=warnings,
        notes={values.text(key): _note(note) for key, note in values.mapping(entry.get("notes"), "`notes`").items()},
        metrics=_metrics(entry.get("metrics")),
        figures=_figures(entry),
        latency=_latencies(entry.get("latency_ms")),
        weights=tuple(map(_weight, weights)),
        ledger=_ledger(entry.get("ledger"), values.text(entry.get("file"))),
        worst=_worst(entry.get("worst_example")),
        outputs=parse_outputs(entry.get("outputs")),
    )


def _note(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{values.number(value, 'a note'):,}"
    try:
        return values.text(value if isinstance(value, str) else json.dumps(value, allow_nan=False))
    except ValueError as error:
        raise CorruptFileError("a note is a number beyond all bounds") from error


def _metrics(value: Any) -> dict[str, float]:
    # A metric may answer with a list or a dict, which no column and no plot can show.
    items = values.mapping(value, "`metrics`").items()
    return {values.text(name): float(values.number(one, "a metric")) for name, one in items if isinstance(one, float)}


def _figures(entry: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, _, _ in FIGURES:
        if entry.get(key) is not None:
            is_count = key.endswith("bytes") or key.startswith("max_")
            value = values.count(entry[key], f"`{key}`") if is_count else values.number(entry[key], f"`{key}`")
            found[key] = value or 0
    return found


def _latencies(value: Any) -> dict[str, Latency]:
    entries = values.mapping(value, "`latency_ms`")
    found = {}
    for key, _ in LATENCIES:
        times = values.mapping(entries.get(key), "`latency_ms`")
        numbers = {
            name: values.number(times[name], "`latency_ms`") for name in ("median", "low", "high") if times.get(name)
        }
        ratio = values.mapping(times.get("ratio_to_float32"), "`latency_ms`").get("median")
        if ratio:
            numbers["ratio"] = values.number(ratio, "`latency_ms`")
        if any(number <= 0 for number in numbers.values()):
            raise CorruptFileError("`latency_ms` must be above 0")
        if "median" in numbers:
            found[key] = Latency(**numbers)
    return found


def _weight(value: Any) -> Weight:
    row = values.mapping(value, "a weight")
    elements, zeros, distinct = (
        values.count(row.get(key), f"`{key}`") or 0 for key in ("elements", "zeros", "distinct")
    )
    return Weight(
        name=values.text(row.get("weight") or row.get("name")),
        shape=tuple(values.count(size, "`shape`") or 0 for size in values.sequence(row.get("shape"), "`shape`")[:32]),
        dtype=values.text(row.get("dtype")),
        elements=elements,
        zeros=min(zeros, elements),
        distinct=distinct,
    )


def _ledger(value: Any, file: str) -> Ledger | None:
    entry = values.mapping(value, "`ledger`")
    if not entry:
        return None
    numbers = {key: values.count(entry.get(key), f"`{key}`") or 0 for key in _LEDGER_NUMBERS}
    return Ledger(path=file, format=values.text(entry.get("format")), dtype=values.text(entry.get("dtype")), **numbers)


def _worst(value: Any) -> Worst | None:
    entry = values.mapping(value, "`worst_example`")
    if not entry:
        return None
    share = float(values.number(entry.get("equal_argmax"), "`equal_argmax`"))
    numbers = {key: values.count(entry.get(key), f"`{key}`") or 0 for key in ("example", "classes")}
    return Worst(equal_argmax=share, **numbers)


def _palette(value: Any) -> tuple[tuple[int, ...], ...]:
    colours = [tuple(values.sequence(one, "`palette`")) for one in values.sequence(value, "`palette`")]
    for colour in colours:
        if len(colour) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in colour):
            raise CorruptFileError("`palette` must hold colours [red, green, blue], each 0 to 255")
    return tuple(colours)
