"""A built model -> every deployable file: written, opened, audited, run, compared, weighed, reported."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.export import audit, data, signature, worker
from segopt_callbacks.export.errors import ExportError, FormatError, damage_is_named
from segopt_callbacks.export.feed import Feed
from segopt_callbacks.export.files import publish
from segopt_callbacks.export.formats import TARGETS, validate_formats
from segopt_callbacks.export.interrupts import remembered_interrupts
from segopt_callbacks.export.metrics import validate_metrics
from segopt_callbacks.export.pictures import drawn
from segopt_callbacks.export.processes import Process, TensorFlowProcess
from segopt_callbacks.export.quiet import quiet
from segopt_callbacks.export.report import REPORTS, table, weighed, write_report
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
    on_failure: str = "raise",
    time_limit: float = 600.0,
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
        on_failure: `"raise"` or `"warn"`, after every other format has been delivered.
        time_limit: seconds that writing a file may take, and running it on one batch.
        verbose: 0 for silence, 1 for a line for each format and the table.

    Returns:
        the report: `model`, `formats`, `baselines` and `verification`, as in `report.json`.

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
        on_failure=on_failure,
        time_limit=time_limit,
    )
    signature.require_built(model)
    export_dir = Path(export_dir).resolve()
    feed = Feed(model, evaluation_data, representative_dataset)
    with remembered_interrupts() as check, workspace(export_dir) as folder, contextlib.ExitStack() as open_processes:
        job = _Job(model, folder, feed, time_limit, bool(verbose), open_processes)
        for name in names:
            job.write(name)
            check()
        verification = job.verify(metrics)
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
    on_failure: str,
    time_limit: float,
) -> tuple[str, ...]:
    """Checks the arguments of an export, before any training is spent on it.

    Returns:
        the names of the formats.

    Raises:
        ValueError: for an argument outside its range.
    """
    data.validate_representative_dataset(representative_dataset)
    data.validate_evaluation_data(evaluation_data)
    validate_metrics(metrics)
    if on_failure not in ("raise", "warn"):
        raise ValueError(f"`on_failure` must be 'raise' or 'warn'. Received: on_failure={on_failure!r}.")
    if isinstance(time_limit, bool) or not isinstance(time_limit, int | float) or not time_limit > 0:
        raise ValueError(f"`time_limit` must be a number of seconds above 0. Received: time_limit={time_limit!r}.")
    return validate_formats(formats, has_data=representative_dataset is not None or evaluation_data is not None)


@dataclass
class _Job:
    """One export under way, in a folder of its own."""

    model: Any
    folder: Path
    feed: Feed
    time_limit: float
    verbose: bool
    open_processes: contextlib.ExitStack
    runners: dict[str, Runner] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    _sources: dict[bool, Source | FormatError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tensorflow = self.open_processes.enter_context(TensorFlowProcess())
        self._unwrapped = compat.without_wrappers(self.model)

    def write(self, name: str) -> None:
        """Writes one format in another process, audits it, and opens it in a process of its own."""
        target, start = TARGETS[name], time.monotonic()
        path = self.folder / target.file_name
        self._say(f"{name}: writing {target.file_name}")
        try:
            source = self._source(target)
            arguments = worker.write_file, target.write, source, path
            self._tensorflow.call(*arguments, doing="writing it", time_limit=self.time_limit)
            audit.require_size(path, self.weights, target.bytes_per_weight)
            self.runners[name] = self._open(target, path, source)
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
        self.entries[name] |= {"notes": notes} if notes else {}
        self._say(f"{name}: written and opened in {seconds:.1f} s")

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
        publish(new, export_dir, {*REPORTS, *(target.file_name for target in TARGETS.values())})
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
        }

    def _open(self, target: Target, path: Path, source: Source) -> Runner:
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
        return run

    def _source(self, target: Target) -> Source:
        """The inference function as files, made when the first format needs it."""
        if target.any_batch not in self._sources:
            try:
                with quiet():
                    self._sources[target.any_batch] = self._save(target.any_batch)
            except FormatError as error:
                self._sources[target.any_batch] = error
        source = self._sources[target.any_batch]
        if isinstance(source, FormatError):
            raise source
        if target.is_integer:
            source.save_examples(self.feed.representative())
        return source

    def _save(self, any_batch: bool) -> Source:
        frozen = signature.freeze(self._unwrapped, self.feed.specs, batch_size=None if any_batch else 1)
        self.weights = {path: variable.numpy() for path, variable in frozen.weights.items()}
        spoiled = signature.nonfinite_weights(frozen)
        if spoiled:
            raise FormatError(f"weights hold NaN or infinity: {', '.join(spoiled)}; train to finite weights first")
        folder = self.folder / "source"
        signature.save(frozen, folder / (ANY_BATCH if any_batch else ONE))
        return Source(folder, frozen.inputs, frozen.outputs)

    def _fail(self, name: str, cause: str) -> None:
        self.causes[name] = cause
        self.runners.pop(name, None)
        self._say(f"{name}: FAILED: {cause}")

    def _say(self, line: str) -> None:
        if self.verbose:
            print(f"export: {line}", flush=True)


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


def _require_integers(target: Target, path: Path) -> None:
    operations = target.float_operations(path) if target.float_operations else []
    if operations:
        raise FormatError(
            f"operations compute in float32 in an integer file: {', '.join(operations)}; replace them with ones that "
            "this format quantizes, or leave it out"
        )
