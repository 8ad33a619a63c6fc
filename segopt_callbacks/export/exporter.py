"""A built model -> every deployable file: written, opened, audited, run, compared, weighed, reported."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.export import audit, data, ranged, signature, worker
from segopt_callbacks.export.errors import ExportError, FormatError, damage_is_named
from segopt_callbacks.export.feed import Feed
from segopt_callbacks.export.files import publish
from segopt_callbacks.export.formats import TARGETS, validate_formats
from segopt_callbacks.export.input_signature import validate_input_signature
from segopt_callbacks.export.interrupts import remembered_interrupts
from segopt_callbacks.export.latency import Latencies, Opened, measure
from segopt_callbacks.export.metadata import embed, validate_metadata
from segopt_callbacks.export.metrics import validate_metrics
from segopt_callbacks.export.pictures import drawn
from segopt_callbacks.export.processes import Process, TensorFlowProcess
from segopt_callbacks.export.quiet import quiet
from segopt_callbacks.export.report import REPORTS, table, told_of_ranges, weighed, write_report
from segopt_callbacks.export.sidecars import sidecar_name, write_sidecars
from segopt_callbacks.export.source import ANY_BATCH, ONE, Source
from segopt_callbacks.export.target import Runner, Target
from segopt_callbacks.export.verify import MODEL, Verification, verify
from segopt_callbacks.export.workspace import disk_errors_explained, workspace

FORMATS = ("saved_model", "float32", "int8")


def export_model(
    model: Any,
    export_dir: str | os.PathLike[str],
    formats: Sequence[str] = FORMATS,
    *,
    representative_dataset: Any = None,
    evaluation_data: Any = None,
    metrics: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    input_signature: Any = None,
    ranges: ranged.Ranges | None = None,
    calibration: str = "min_max",
    on_failure: str = "raise",
    time_limit: float = 600.0,
    latency: bool = True,
    verbose: int = 1,
) -> dict[str, Any]:
    """Exports a built model; runs every file on the same data as the model and compares them.

    The model is not changed. Files are written and run in processes of their own, so that what crashes there fails
    one format. They appear under their final names, with `report.json`, `report.md` and `report.html`, all together
    once they have passed every check; earlier ones are kept until then, and those of formats that fail. Without any
    data, files are run on one example of noise. What tfmot has wrapped to prune or cluster it is exported unwrapped.

    Inputs have the dtype of `evaluation_data` (else of `representative_dataset`, else by the model's own account,
    which is float32 for a subclassed model of Keras 3): raw uint8 images go into every file, `int8` too. Float inputs
    and outputs of `int8` are int8, by the scale and zero point that the file tells.

    Args:
        model: a built Keras model.
        export_dir: the folder for all files.
        formats: names out of `formats.TARGETS`.
        representative_dataset: examples that show the ranges of activations, at most `data.EXAMPLE_LIMIT` are read: a
            callable that yields lists or dicts of inputs, or a `tf.data.Dataset` of `x` or `(x, y)`. Default: the
            inputs of `evaluation_data`.
        evaluation_data: what `fit` takes as `validation_data`: `(x, y[, sample_weight])` or a dataset of batches.
        metrics: name -> Keras metric, computed on every file's own answers; weighted, where there are weights.
        metadata: what every file is to tell about itself beside its inputs and outputs: `classes` (names by id),
            `palette` (colours by id), how inputs are scaled, anything that JSON can hold; see `read_metadata`.
        input_signature: sizes and dtypes of the inputs, where they are not those of the data: a structure of
            `tf.TensorSpec`, batch first (1 or `None`). Sizes of `None` stay open in every file; a format that cannot
            leave them open fails.
        ranges: `ranges` of the `QuantizationAwareTrainingCallback` that trained the model, for `int8`; ranges of
            tensors that it lacks are found from the representative data. Other formats find theirs by themselves.
        calibration: how `int8` finds ranges that were not learned: `"min_max"` (everything that the representative data
            show), `"percentile"`, `"entropy"` or `"mse"`, see `calibration`.
        on_failure: `"raise"` or `"warn"`, after every other format has been delivered.
        time_limit: seconds that writing a file may take, and running it on one batch.
        latency: whether to time one inference of every file, on one thread and on all; about 10 seconds of runs.
        verbose: 0 for silence, 1 for a line for each format and the table.

    Returns:
        the report: `model`, `formats`, `baselines`, `verification` and `metadata`, as in `report.json`.

    Raises:
        ValueError: for an argument outside its range, or a model whose input is not known.
        ExportError: if a format failed and `on_failure` is `"raise"`.
        OSError: if `export_dir` cannot be written; what was there is kept.

    Example:
        >>> import tempfile
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> report = export_model(model, tempfile.mkdtemp(), ["float32"], verbose=0)
        >>> report["formats"]["float32"]["equal_argmax"]
        1.0
    """
    names = validate(
        formats,
        representative_dataset=representative_dataset,
        evaluation_data=evaluation_data,
        metrics=metrics,
        metadata=metadata,
        input_signature=input_signature,
        ranges=ranges,
        calibration=calibration,
        on_failure=on_failure,
        time_limit=time_limit,
        latency=latency,
    )
    signature.require_built(model)
    export_dir = Path(export_dir).resolve()
    feed = Feed(model, evaluation_data, representative_dataset, input_signature)
    with remembered_interrupts() as check, workspace(export_dir) as folder, contextlib.ExitStack() as open_processes:
        wanted = ranged.validate_ranges(ranges, calibration)
        job = _Job(model, folder, feed, wanted, time_limit, bool(verbose), open_processes, validate_metadata(metadata))
        for name in names:
            job.write(name)
            check()
        job.warn()
        verification = job.verify(metrics)
        check()
        if latency:
            job.time(verification.example, check)
            check()
        with disk_errors_explained():
            report = job.deliver(names, verification, export_dir)
    if verbose:
        print(f"\n{table(report)}\n", flush=True)
    if job.causes:
        error = ExportError(job.causes, report)
        if on_failure == "raise":
            raise error
        warnings.warn(str(error), stacklevel=2)
    return report


def validate(
    formats: Sequence[str],
    *,
    representative_dataset: Any,
    evaluation_data: Any,
    metrics: Any,
    metadata: Any,
    input_signature: Any,
    ranges: Any = None,
    calibration: str = "min_max",
    on_failure: str,
    time_limit: float,
    latency: bool,
    may_learn: bool = False,
) -> tuple[str, ...]:
    """Checks the arguments of an export, before any training is spent on it.

    Args of `export_model`, and `may_learn`: whether ranges may yet come from training.

    Returns:
        the names of the formats.

    Raises:
        ValueError: for an argument outside its range.
    """
    data.validate_representative_dataset(representative_dataset)
    data.validate_evaluation_data(evaluation_data)
    validate_metrics(metrics)
    validate_metadata(metadata)
    validate_input_signature(input_signature)
    if on_failure not in ("raise", "warn"):
        raise ValueError(f"`on_failure` must be 'raise' or 'warn'. Received: on_failure={on_failure!r}.")
    if isinstance(time_limit, bool) or not isinstance(time_limit, int | float) or not time_limit > 0:
        raise ValueError(f"`time_limit` must be a number of seconds above 0. Received: time_limit={time_limit!r}.")
    if not isinstance(latency, bool):
        raise ValueError(f"`latency` must be True or False. Received: latency={latency!r}.")
    wanted = ranged.validate_ranges(ranges, calibration)
    has_data = representative_dataset is not None or evaluation_data is not None
    return validate_formats(formats, has_data=has_data, has_ranges=may_learn or bool(wanted.ranges))


@dataclass
class _Job:
    """One export under way, in a folder of its own."""

    model: Any
    folder: Path
    feed: Feed
    wanted: ranged.Wanted
    time_limit: float
    verbose: bool
    open_processes: contextlib.ExitStack
    metadata: dict[str, Any] = field(default_factory=dict)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    runners: dict[str, Runner] = field(default_factory=dict)
    opened: dict[str, Opened] = field(default_factory=dict)
    latencies: Latencies = field(default_factory=Latencies)
    causes: dict[str, str] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    ranges: dict[str, Any] = field(default_factory=dict)
    _sources: dict[str, Source | FormatError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tensorflow = self.open_processes.enter_context(TensorFlowProcess())
        self._unwrapped = compat.without_wrappers(self.model)

    def write(self, name: str) -> None:
        """Writes one format in another process, audits it, and opens it in a process of its own."""
        target, start = TARGETS[name], time.monotonic()
        path = self.folder / target.file_name
        self._say(f"{name}: writing {target.file_name}")
        try:
            _require_sizes(target, self.feed)
            source = self._source(target)
            arguments = worker.write_file, target.write, source, path
            self._tensorflow.call(*arguments, doing="writing it", time_limit=self.time_limit)
            audit.require_size(path, self.weights, target.bytes_per_weight)
            describe = embed, path, name, source, self._packages(target)
            self.told[name] = self._tensorflow.call(*describe, doing="describing it", time_limit=self.time_limit)
            self.runners[name] = self._open(name, path, source)
            with damage_is_named("auditing it"):
                _require_integers(target, path)
                rows = target.read_weights(path, self.weights)
                activations = target.read_activations(path) if target.read_activations else []
                notes = target.notes(path) if target.notes else {}
        except FormatError as error:
            self._fail(name, str(error))
            return
        seconds = time.monotonic() - start
        self.entries[name] = {"seconds": round(seconds, 3), **audit.totals(rows), "weights": rows}
        self.entries[name] |= {"activations": activations} if activations else {}
        if target.takes_ranges and self.ranges:
            self.entries[name]["ranges"] = self.ranges
            notes = {**notes, "ranges": told_of_ranges(self.ranges)}
        self.entries[name] |= {"notes": notes} if notes else {}
        self._say(f"{name}: written and opened in {seconds:.1f} s")

    def warn(self) -> None:
        """Tells of what does not fail; the report does, too."""
        for sentence in self.feed.oddities:
            self._say(f"WARNING: {sentence}")

    def verify(self, metrics: Mapping[str, Any] | None) -> Verification:
        """Runs all files that could be opened."""
        start = time.monotonic()
        try:
            outcome = verify(self._unwrapped, self.feed, self.runners, metrics=metrics)
        except FormatError as error:
            outcome = Verification(causes=dict.fromkeys(self.runners, str(error)), results={MODEL: {"metrics": {}}})
        outcome.causes |= _beyond_tolerance(outcome)
        for name, cause in outcome.causes.items():
            self._fail(name, cause)
        self._say(f"ran {len(self.runners)} files on {outcome.examples} examples in {time.monotonic() - start:.1f} s")
        return outcome

    def time(self, example: list[np.ndarray], check: Callable[[], None]) -> None:
        """Times one inference of all files that have passed."""
        start = time.monotonic()
        files = {name: self.opened[name] for name in self.runners}
        self.latencies = measure(files, example, time_limit=self.time_limit, check=check)
        for name, entry in self.latencies.figures.items():
            self.entries[name]["latency_ms"] = entry
        self._say(f"timed {len(self.latencies.figures)} files in {time.monotonic() - start:.1f} s")

    def deliver(self, names: Sequence[str], verification: Verification, export_dir: Path) -> dict[str, Any]:
        """Weighs the checked files and gives them, and the report, their final names; returns the report."""
        new = self.folder / "export"
        new.mkdir()
        for name in self.runners:
            path = (self.folder / TARGETS[name].file_name).rename(new / TARGETS[name].file_name)
            entry = {"status": "ok", "file": path.name, **weighed(path), **verification.results[name]}
            self.entries[name] = entry | self.entries[name]
        for name, cause in self.causes.items():
            kept = (export_dir / TARGETS[name].file_name).exists()
            self.entries[name] = {"status": "failed", "error": cause, "earlier_file_kept": kept}
        for name, worst in verification.disagreements.items():
            about = {"example": worst.example, "equal_argmax": worst.equal_argmax, "classes": worst.classes}
            self.entries[name]["worst_example"] = about
        report = self._report(names, verification)
        palette = report.get("metadata", {}).get("palette")
        write_report(new, report, drawn(verification.disagreements, palette))
        write_sidecars(new, report, self.told)
        ours = {name for one, target in TARGETS.items() for name in (target.file_name, sidecar_name(one))}
        publish(new, export_dir, {*REPORTS, *ours})
        return report

    def _report(self, names: Sequence[str], verification: Verification) -> dict[str, Any]:
        rows = [
            audit.weight_row(path, value, channel_axis=-1, weight=path)
            for path, value in self.weights.items()
            if value.ndim >= 2
        ]
        parameters = sum(int(np.prod(one.shape)) for one in self._unwrapped.weights)
        model = {"name": self.model.name, "parameters": parameters, **verification.results[MODEL], **audit.totals(rows)}
        return {
            "model": model | {"weights": rows},
            "formats": {name: self.entries[name] for name in names},
            "baselines": {},
            "verification": {"examples": verification.examples, "data": self.feed.name},
            "latency": self.latencies.settings,
            "metadata": self.metadata,
            **({"warnings": self.feed.oddities} if self.feed.oddities else {}),
        }

    def _open(self, name: str, path: Path, source: Source) -> Runner:
        target = TARGETS[name]
        process = self._tensorflow if target.uses_tensorflow else self.open_processes.enter_context(Process())
        opened_in: list[int] = []

        def open_once() -> None:
            if opened_in != [process.number]:  # another format's converter may have killed the process since
                arguments = target.load, path, source, None
                process.call(worker.open_file, *arguments, doing="opening it", time_limit=self.time_limit)
                opened_in[:] = [process.number]

        def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
            open_once()
            return process.call(worker.run, inputs, doing="running it", time_limit=self.time_limit)

        open_once()
        self.opened[name] = Opened(target, path, source, process)
        return run

    def _packages(self, target: Target) -> tuple[str, ...]:
        keras = "tf-keras" if compat.is_keras_2(self.model) else "keras"
        return "segopt-callbacks", "tensorflow", keras, *target.requires

    def _source(self, target: Target) -> Source:
        """The inference function as files, made when the first format needs it."""
        is_rounded = target.takes_ranges and not self.wanted.is_converters
        kind = "rounded" if is_rounded else ANY_BATCH if target.any_batch else ONE
        if kind not in self._sources:
            try:
                with quiet():
                    self._sources[kind] = self._save_rounded() if is_rounded else self._save(target.any_batch)
            except FormatError as error:
                self._sources[kind] = error
        source = self._sources[kind]
        if isinstance(source, FormatError):
            raise source
        if target.is_integer and self.feed.has_data:
            source.save_examples(self.feed.representative())
        return source

    def _save_rounded(self) -> Source:
        self.weights = _finite(signature.freeze(self._unwrapped, self.feed.specs))
        examples = self.feed.representative if self.feed.has_data else None
        source, self.ranges = ranged.save_rounded(
            self._unwrapped, self.feed.specs, self.wanted, examples, self.folder / "rounded"
        )
        return replace(source, metadata=self.metadata)

    def _save(self, any_batch: bool) -> Source:
        batch_size = None if any_batch else self.feed.batch_size
        frozen = signature.freeze(self._unwrapped, self.feed.specs, batch_size=batch_size)
        self.weights = _finite(frozen)
        folder = self.folder / "source"
        signature.save(frozen, folder / (ANY_BATCH if any_batch else ONE))
        return Source(folder, frozen.inputs, frozen.outputs, self.metadata)

    def _fail(self, name: str, cause: str) -> None:
        self.causes[name] = cause
        self.runners.pop(name, None)
        self._say(f"{name}: FAILED: {cause}")

    def _say(self, line: str) -> None:
        if self.verbose:
            print(f"export: {line}", flush=True)


def _finite(frozen: signature.Frozen) -> dict[str, np.ndarray]:
    """The weights by path."""
    spoiled = signature.nonfinite_weights(frozen)
    if spoiled:
        raise FormatError(f"weights hold NaN or infinity: {', '.join(spoiled)}; train to finite weights first")
    return {path: variable.numpy() for path, variable in frozen.weights.items()}


def _beyond_tolerance(outcome: Verification) -> dict[str, str]:
    """Format -> cause, of those whose answers are too far from the model's to be rounding."""
    causes = {}
    for name, result in outcome.results.items():
        tolerance = None if name == MODEL else TARGETS[name].tolerance
        if tolerance is not None and result["relative_difference"] > tolerance:
            causes[name] = (
                f"its answers differ from the model's by {result['relative_difference']:.2g} of the largest answer, "
                f"more than rounding explains ({tolerance:.2g}); the converter changed the model"
            )
    return causes


def _require_sizes(target: Target, feed: Feed) -> None:
    if feed.has_open_sizes and not target.open_sizes:
        raise FormatError(
            "this format must know every size of its inputs; give `input_signature` all of them (a batch of 1), or "
            "leave the format out"
        )


def _require_integers(target: Target, path: Path) -> None:
    operations = target.float_operations(path) if target.float_operations else []
    if operations:
        raise FormatError(
            f"operations compute in float32 in an integer file: {', '.join(operations)}; replace them with ones that "
            "this format quantizes, or leave it out"
        )
