"""What pages show of an export: its rows, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from segopt_callbacks.records import Measured
from segopt_callbacks.sizes import Ledger


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight as stored.

    Attributes:
        name: of the model's own weight, else of the tensor in the file.
        shape: as stored.
        dtype: such as `"int8"`.
        elements: how many.
        zeros: a count.
        distinct: stored values.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    elements: int
    zeros: int
    distinct: int


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one inference: the median, and the interval around it and the ratio to float32 where known."""

    median: float
    low: float | None = None
    high: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Worst:
    """The example on which a file's classes differ most from the model's.

    Attributes:
        example: its number in the data, from 0.
        equal_argmax: fraction of its pixels of equal class.
        classes: how many there are.
    """

    example: int
    equal_argmax: float
    classes: int


@dataclass(frozen=True)
class Output:
    """How far one output of a file is from the model's, or one channel of it.

    Attributes:
        name: of the output.
        figures: key of `OUTPUT_FIGURES` -> value.
        channel: its number where this is a channel.
        magnitude: the model's largest answer in that channel.
    """

    name: str
    figures: Mapping[str, float]
    channel: int | None = None
    magnitude: float = 0.0


@dataclass(frozen=True)
class Row:
    """A baseline, the model in memory, or a format.

    Attributes:
        name: as the report calls it.
        kind: `"baseline"`, `"model"` or `"format"`.
        file: its name under the export folder, empty where there is none.
        error: why it failed, empty if it did not.
        warnings: what else is to be known of it.
        notes: what its format tells of itself, name -> text.
        metrics: name -> value.
        figures: key of `FIGURES` -> value.
        latency: key of `LATENCIES` -> milliseconds.
        weights: as stored.
        ledger: what its bytes are.
        worst: where it differs most.
        outputs: how far each output is from the model's, each with its channels behind it.
    """

    name: str
    kind: str
    file: str = ""
    error: str = ""
    warnings: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, Latency] = field(default_factory=dict)
    weights: tuple[Weight, ...] = ()
    ledger: Ledger | None = None
    worst: Worst | None = None
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True)
class Made:
    """When and by what an export was made; what an older report does not tell is empty.

    Attributes:
        date: ISO 8601, in UTC.
        versions: package -> version.
        cpu: name of the processor.
        cpus: how many the process might use; 0 if not known.
        system: operating system and kind of machine.
        training: what is known of the fit, such as `optimizer`, name -> text.
        callbacks: name and settings of each callback of the fit, as text.
    """

    date: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    cpu: str = ""
    cpus: int = 0
    system: str = ""
    training: Mapping[str, str] = field(default_factory=dict)
    callbacks: tuple[tuple[str, Mapping[str, str]], ...] = ()


@dataclass(frozen=True)
class Report:
    """One export.

    Attributes:
        model: its name.
        parameters: how many it has, where that is known.
        examples: on which every file was run.
        data: what they are.
        rows: baselines, the model, formats, in this order.
        warnings: about the export as a whole.
        palette: `[red, green, blue]` of each class, empty if not known.
        classes: their names, empty if not known.
        about_latency: how it was measured, empty if not known.
        sensitivity: of the model's weights, where it was measured.
        inputs: fingerprint of the inputs on which every file was run, empty if not known.
        targets: likewise of the targets.
        earlier_files: of an earlier export, which still lie in the folder.
        made: when and by what.
    """

    model: str
    parameters: int | None
    examples: int
    data: str
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()
    palette: tuple[tuple[int, ...], ...] = ()
    classes: tuple[str, ...] = ()
    about_latency: str = ""
    sensitivity: Measured | None = None
    inputs: str = ""
    targets: str = ""
    earlier_files: tuple[str, ...] = ()
    made: Made = Made()

    def of_kind(self, kind: str) -> tuple[Row, ...]:
        """The rows of one kind."""
        return tuple(row for row in self.rows if row.kind == kind)
