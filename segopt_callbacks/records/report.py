"""The report of an export as its readers see it: the dicts of `report.json`, typed key by key.

Type checkers know each key. One that not every report has is to be asked for first: `if "warnings" in report`.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class _SomeWeights(TypedDict, total=False):
    removed: int
    scale_range: list[float]


class WeightRow(_SomeWeights):
    """One stored weight; `weight` is its path in the model, where it is recognised.

    `removed`: elements of the model's weight that are not in the file, as their channels were removed.
    `scale_range`: the smallest and the largest scale of a quantized weight.
    """

    name: str
    weight: str | None
    shape: list[int]
    dtype: str
    elements: int
    zeros: int
    distinct: int
    max_distinct_per_channel: int
    entropy_bytes: int
    scales: int


class Weights(TypedDict):
    """What the weights of the model, or of a file, are together."""

    elements: int
    zeros: float
    max_distinct_per_channel: int
    entropy_bytes: int
    weights: list[WeightRow]


class ModelEntry(Weights):
    """The model in memory."""

    name: str
    parameters: int
    metrics: dict[str, float]


class _SomeOutputs(TypedDict, total=False):
    channels: list[dict[str, Any]]


class OutputRow(_SomeOutputs):
    """One output of a file, compared with the model's."""

    name: str
    largest_difference: float
    relative_difference: float
    mean_difference: float
    equal_argmax: float | None


class _SomeFormats(TypedDict, total=False):
    ledger: dict[str, Any]
    activations: list[dict[str, Any]]
    ranges: dict[str, Any]
    removed: int
    latency_ms: dict[str, Any]
    float_operations: list[str]
    worst_example: dict[str, Any]
    warnings: list[str]
    notes: dict[str, Any]


class FormatEntry(Weights, _SomeFormats):
    """One format. Where `status` is `"failed"` it has `error` and `earlier_file_kept` alone, else all but these."""

    status: Literal["ok", "failed"]
    error: str
    earlier_file_kept: bool
    file: str
    bytes: int
    gzip_bytes: int
    seconds: float
    metrics: dict[str, float]
    largest_difference: float
    relative_difference: float
    mean_difference: float
    equal_argmax: float | None
    outputs: list[OutputRow]


class BaselineEntry(TypedDict):
    """A row for comparison, see `add_baseline`."""

    metrics: dict[str, float]


class Fingerprint(TypedDict):
    """What tells data from other data: 16 hexadecimal digits each, whatever their order; empty without targets."""

    inputs: str
    targets: str


class Verified(TypedDict):
    """What files were run on."""

    examples: int
    data: str
    fingerprint: Fingerprint


class Machine(TypedDict):
    """Where files were made and timed; `cpus`: how many the process might use."""

    cpu: str
    cpus: int
    system: str


class Made(TypedDict):
    """When and by what an export was made; `date`: ISO 8601, in UTC; `training` is empty outside of a fit."""

    date: str
    versions: dict[str, str]
    machine: Machine
    training: dict[str, Any]


class _SomeReports(TypedDict, total=False):
    channels: dict[str, Any]
    sensitivity: dict[str, Any]
    warnings: list[str]
    earlier_files: list[str]


class Report(_SomeReports):
    """What `export_model` returns."""

    model: ModelEntry
    formats: dict[str, FormatEntry]
    baselines: dict[str, BaselineEntry]
    verification: Verified
    made: Made
    latency: dict[str, Any]
    metadata: dict[str, Any]
