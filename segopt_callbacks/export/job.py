"""One export: every format written, opened, audited, run, compared, timed, weighed and told."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export import audit, promises
from segopt_callbacks.export.checks import (
    MODEL,
    Latencies,
    Nature,
    Opened,
    Remote,
    Verification,
    draw,
    judge,
    measure,
    nature,
    verify,
)
from segopt_callbacks.export.delivery import publish, sidecar_name, write_sidecars
from segopt_callbacks.export.entry import entry_of, rows_of
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.inference import Sources
from segopt_callbacks.export.progress import LOOK, TELL, Progress, Shares
from segopt_callbacks.export.report import (
    REPORTS,
    ShownReport,
    beside_float32,
    drawn,
    made,
    write_report,
)
from segopt_callbacks.export.settings import ExportSettings
from segopt_callbacks.export.target import Runner
from segopt_callbacks.export.writing import Writer, Written
from segopt_callbacks.records import Report


@dataclass
class Job:
    """One export under way, in a folder of its own.

    Attributes:
        sources: what formats are made from.
        folder: for files until they are delivered.
        settings: what is asked of the export.
        open_processes: ends the processes of the export.
        progress: tells how far it is.
        told: format -> what its file tells about itself.
        runners: format -> what runs its file, of those that have not failed.
        opened: format -> its file, in its process.
        latencies: of the files.
        causes: format -> why it failed.
        entries: format -> its part of the report.
    """

    sources: Sources
    folder: Path
    settings: ExportSettings
    open_processes: contextlib.ExitStack
    progress: Progress
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    runners: dict[str, Runner] = field(default_factory=dict)
    opened: dict[str, Opened] = field(default_factory=dict)
    latencies: Latencies = field(default_factory=Latencies)
    causes: dict[str, str] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, names: Sequence[str], check: Callable[[], None]) -> None:
        """Writes, opens and audits all formats.

        Ranges are found while files without ranges are converted, and these are opened while those with ranges are.
        What needs no conversion is begun last.
        """
        self.progress.plan(self._shares.total)
        self.progress.begin("looking at the model", LOOK)
        if refusal := self._nature.refusal():
            for name in names:
                self._fail(name, refusal)
            return
        plain_first = sorted(names, key=lambda name: TARGETS[name].takes_ranges)
        writer = Writer(self.sources, self.folder, self.settings, self.open_processes)
        for name in sorted(plain_first, key=lambda name: TARGETS[name].uses_tensorflow):
            writing = f"writing {TARGETS[name].file_name}"
            self.progress.begin(writing, self._shares.begin[name], line=f"{name}: {writing}")
            writer.begin(name)
            check()
        for name in plain_first:
            self.progress.begin(f"finishing {TARGETS[name].file_name}", self._shares.finish)
            try:
                written = writer.finish(name)
            except FormatError as error:
                self._fail(name, str(error))
            else:
                self._note(name, written)
            check()

    def _note(self, name: str, written: Written) -> None:
        self.told[name], self.opened[name] = written.told, written.opened
        self.runners[name] = Remote(written.opened.process, self.settings.time_limit)
        self.entries[name] = entry_of(TARGETS[name], written, self.sources, self._model_rows)
        self.progress.say(f"{name}: written and opened in {written.seconds:.1f} s")

    def warn(self) -> None:
        """Tells of what does not fail; the report does, too."""
        for sentence in self._warnings():
            self.progress.say(f"WARNING: {sentence}")

    def verify(self, metrics: Mapping[str, Any] | None) -> Verification:
        """Runs all files that could be opened."""
        start = time.monotonic()
        running = f"running {len(self.runners)} files"
        self.progress.begin(running, self._shares.run)
        try:
            model, feed = self.sources.model, self.sources.feed
            names = self.sources.metadata.get("classes", ())
            told = self.progress.counting(running, feed.batch_count)
            outcome = verify(
                model, feed, self.runners, metrics=metrics, nature=self._nature, class_names=len(names), told=told
            )
            if self._nature.is_random:
                draw(
                    model, feed, outcome, self.runners, {name: TARGETS[name].tolerance or 0.0 for name in self.runners}
                )
        except FormatError as error:
            outcome = Verification(causes=dict.fromkeys(self.runners, str(error)), results={MODEL: {"metrics": {}}})
        tolerances = {name: TARGETS[name].tolerance for name in outcome.agreements}
        learned = {name for name in tolerances if self.entries[name].get("ranges", {}).get("learned")}
        calibrated = {name for name in tolerances if TARGETS[name].is_integer} - learned
        refused, doubts = judge(outcome.agreements, tolerances, self._nature, learned, calibrated)
        for name, cause in {**refused, **outcome.causes}.items():
            self._fail(name, cause)
        for name, told_of in doubts.items():
            self.entries[name].setdefault("warnings", []).extend(told_of)
        self.progress.say(
            f"ran {len(self.runners)} files on {outcome.examples} examples in {time.monotonic() - start:.1f} s"
        )
        return outcome

    def time(self, example: list[np.ndarray], check: Callable[[], None]) -> None:
        """Times one inference of all files that have passed."""
        start = time.monotonic()
        self.progress.begin(f"timing {len(self.runners)} files", self._shares.time)
        files = {name: self.opened[name] for name in self.runners}
        self.latencies = measure(files, example, time_limit=self.settings.time_limit, check=check)
        for name, entry in self.latencies.figures.items():
            self.entries[name]["latency_ms"] = entry
        self.progress.say(f"timed {len(self.latencies.figures)} files in {time.monotonic() - start:.1f} s")

    def deliver(self, names: Sequence[str], verification: Verification, export_dir: Path) -> Report:
        """Weighs the checked files and gives them, and the report, their final names; returns the report."""
        self.progress.begin("writing the report", TELL)
        new = self.folder / "export"
        new.mkdir()
        for name in self.runners:
            path = (self.folder / TARGETS[name].file_name).rename(new / TARGETS[name].file_name)
            entry = {"status": "ok", "file": path.name, **verification.results[name]}
            self.entries[name] = entry | self.entries[name]
        for name, note in beside_float32(self.entries).items():
            self.entries[name]["notes"] = {**self.entries[name].get("notes", {}), "beside float32": note}
            self.progress.say(f"{name}: {note}")
        for name, cause in self.causes.items():
            kept = (export_dir / TARGETS[name].file_name).exists()
            self.entries[name] = {"status": "failed", "error": cause, "earlier_file_kept": kept}
        for name, worst in verification.disagreements.items():
            about = {"example": worst.example, "equal_argmax": worst.equal_argmax, "classes": worst.classes}
            self.entries[name]["worst_example"] = about
        report = self._report(names, verification)
        if earlier := self._earlier_files(export_dir):
            report["earlier_files"] = earlier
        palette = report.get("metadata", {}).get("palette")
        write_report(new, report, drawn(verification.disagreements, palette))
        write_sidecars(new, report, self.told)
        ours = {name for one, target in TARGETS.items() for name in (target.file_name, sidecar_name(one))}
        publish(new, export_dir, {*REPORTS, *ours})
        return report

    def _earlier_files(self, export_dir: Path) -> list[str]:
        """Files that stay in the folder, of formats that this export does not make."""
        names = [one.file_name for name, one in TARGETS.items() if name not in self.entries]
        return [name for name in names if (export_dir / name).exists()]

    def _report(self, names: Sequence[str], verification: Verification) -> Report:
        kernels = promises.counted(self._model_rows, self._model_rows, self.sources.kernels)[0]
        parameters = sum(int(np.prod(one.shape)) for one in self.sources.model.weights)
        model = {"name": self.sources.model.name, "parameters": parameters, **verification.results[MODEL]}
        told = {
            "model": model | audit.totals(kernels) | {"weights": self._model_rows},
            "formats": {name: self.entries[name] for name in names},
            "baselines": self.settings.plain_baselines,
            "verification": {
                "examples": verification.examples,
                "data": self.sources.feed.name,
                "fingerprint": verification.fingerprint,
            },
            "latency": self.latencies.settings,
            "metadata": self.sources.metadata,
            "made": made(self.settings.training, self.told),
            **({"channels": self.sources.channels} if self.sources.channels else {}),
            **({"sensitivity": self.settings.sensitivity.entry()} if self.settings.sensitivity else {}),
            **({"warnings": self._warnings()} if self._warnings() else {}),
        }
        return cast(Report, ShownReport(told))

    @functools.cached_property
    def _shares(self) -> Shares:
        """What the stages take beside each other."""
        return Shares.of({name: TARGETS[name] for name in self.settings.formats}, is_timed=self.settings.latency)

    @functools.cached_property
    def _nature(self) -> Nature:
        """What the model is, found when the first format is written."""
        return nature(self.sources.model, self.sources.feed)

    @functools.cached_property
    def _model_rows(self) -> list[dict[str, Any]]:
        """The audit of the model in memory."""
        return rows_of(self.sources.weights)

    def _warnings(self) -> list[str]:
        left_whole = self.sources.channels.get("left_whole")
        return [*self.sources.feed.oddities, *self._nature.warnings(), *([left_whole] if left_whole else [])]

    def _fail(self, name: str, cause: str) -> None:
        self.causes[name] = cause
        self.runners.pop(name, None)
        self.progress.say(f"{name}: FAILED: {cause}")
