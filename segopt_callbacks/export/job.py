"""One export: every format written, opened, audited, run, compared, timed, weighed and told."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.errors import FormatError, damage_is_named, printable
from segopt_callbacks.export import audit
from segopt_callbacks.export.checks import (
    MODEL,
    Latencies,
    Opened,
    Verification,
    begin_on_one_thread,
    is_timed,
    measure,
    verify,
)
from segopt_callbacks.export.delivery import embed, publish, sidecar_name, write_sidecars
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.inference import Sources
from segopt_callbacks.export.report import REPORTS, drawn, told_of_ranges, weighed, write_report
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Runner, Target
from segopt_callbacks.processes import Process, TensorFlowProcess, worker
from segopt_callbacks.records import Sensitivity

_IMPORTING = "importing what opens it"


@dataclass
class Job:
    """One export under way, in a folder of its own.

    Attributes:
        sources: what formats are made from.
        folder: for files until they are delivered.
        time_limit: seconds for each step of a format.
        verbose: whether to print a line for each step.
        open_processes: ends the processes of the export.
        sensitivity: of the model, where it was measured.
        latency: whether files will be timed.
        prepared: format -> seconds that its source took.
        told: format -> what its file tells about itself.
        runners: format -> what runs its file, of those that have not failed.
        opened: format -> its file, in its process.
        latencies: of the files.
        causes: format -> why it failed.
        entries: format -> its part of the report.
    """

    sources: Sources
    folder: Path
    time_limit: float
    verbose: bool
    open_processes: contextlib.ExitStack
    sensitivity: Sensitivity | None = None
    latency: bool = True
    prepared: dict[str, float] = field(default_factory=dict)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    runners: dict[str, Runner] = field(default_factory=dict)
    opened: dict[str, Opened] = field(default_factory=dict)
    latencies: Latencies = field(default_factory=Latencies)
    causes: dict[str, str] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tensorflow = self.open_processes.enter_context(TensorFlowProcess())

    def prepare(self, names: Sequence[str]) -> None:
        """Makes what formats are made from, while the process that will write them still imports TensorFlow."""
        for name in names:
            start = time.monotonic()
            with contextlib.suppress(FormatError):  # `write` meets it again, and tells
                self.sources.of(TARGETS[name])
            self.prepared[name] = time.monotonic() - start

    def write(self, name: str) -> None:
        """Writes one format in another process, audits it, and opens it in a process of its own."""
        target, start = TARGETS[name], time.monotonic()
        path = self.folder / target.file_name
        self._say(f"{name}: writing {target.file_name}")
        try:
            process = self._process(target)
            source = self.sources.of(target)
            arguments = worker.write_file, target.write, source, path
            self._tensorflow.call(*arguments, doing="writing it", time_limit=self.time_limit)
            audit.require_size(path, self.sources.weights, target.bytes_per_weight)
            describe = embed, path, name, source, self._packages(target)
            self.told[name] = self._tensorflow.call(*describe, doing="describing it", time_limit=self.time_limit)
            self.runners[name] = self._open(name, path, source, process)
            with damage_is_named("auditing it"):
                _require_integers(target, path)
                rows = target.read_weights(path, self.sources.weights)
                activations = target.read_activations(path) if target.read_activations else []
                notes = target.notes(path) if target.notes else {}
        except FormatError as error:
            self._fail(name, str(error))
            return
        seconds = time.monotonic() - start + self.prepared.get(name, 0.0)
        self.entries[name] = {"seconds": round(seconds, 3), **audit.totals(rows), "weights": rows}
        self.entries[name] |= {"activations": activations} if activations else {}
        if target.takes_ranges and self.sources.ranges:
            self.entries[name]["ranges"] = self.sources.ranges
            notes = {**notes, "ranges": told_of_ranges(self.sources.ranges)}
        if target.is_integer and (source.plain or not source.has_ranges or self.sources.ranges["calibrated"]):
            notes = {**notes, "calibrated on": self.sources.feed.calibration}
        self.entries[name] |= {"notes": notes} if notes else {}
        self._say(f"{name}: written and opened in {seconds:.1f} s")

    def warn(self) -> None:
        """Tells of what does not fail; the report does, too."""
        for sentence in self.sources.feed.oddities:
            self._say(f"WARNING: {sentence}")

    def verify(self, metrics: Mapping[str, Any] | None) -> Verification:
        """Runs all files that could be opened."""
        start = time.monotonic()
        try:
            outcome = verify(self.sources.model, self.sources.feed, self.runners, metrics=metrics)
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
            for path, value in self.sources.weights.items()
            if value.ndim >= 2
        ]
        parameters = sum(int(np.prod(one.shape)) for one in self.sources.model.weights)
        model = {"name": self.sources.model.name, "parameters": parameters, **verification.results[MODEL]}
        return {
            "model": model | audit.totals(rows) | {"weights": rows},
            "formats": {name: self.entries[name] for name in names},
            "baselines": {},
            "verification": {"examples": verification.examples, "data": self.sources.feed.name},
            "latency": self.latencies.settings,
            "metadata": self.sources.metadata,
            **({"sensitivity": self.sensitivity.entry()} if self.sensitivity else {}),
            **({"warnings": self.sources.feed.oddities} if self.sources.feed.oddities else {}),
        }

    def _process(self, target: Target) -> Process | TensorFlowProcess:
        """In which a file will be opened; it imports what it takes while the file is written."""
        if target.uses_tensorflow:
            return self._tensorflow
        process = self.open_processes.enter_context(Process())
        process.begin(worker.know, target.load, doing=_IMPORTING)
        return process

    def _open(self, name: str, path: Path, source: Source, process: Process | TensorFlowProcess) -> Runner:
        target = TARGETS[name]
        if isinstance(process, Process):
            process.finish(doing=_IMPORTING, time_limit=self.time_limit)
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
        pinned = None
        if self.latency and is_timed(target):
            with contextlib.suppress(FormatError):  # `measure` meets it again, and tells
                pinned = self.open_processes.enter_context(begin_on_one_thread(target, path, source))
        self.opened[name] = Opened(target, path, source, process, pinned)
        return run

    def _packages(self, target: Target) -> tuple[str, ...]:
        keras = "tf-keras" if compat.is_keras_2(self.sources.model) else "keras"
        return "segopt-callbacks", "tensorflow", keras, *target.requires

    def _fail(self, name: str, cause: str) -> None:
        self.causes[name] = cause
        self.runners.pop(name, None)
        self._say(f"{name}: FAILED: {cause}")

    def _say(self, line: str) -> None:
        if self.verbose:
            print(printable(f"export: {line}"), flush=True)


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
