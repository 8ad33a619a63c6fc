"""Files on their way: written one after the other in one process, and opened each in a process of its own.

While they are written this process goes on: it makes what the next ones are made from.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.errors import FormatError, damage_is_named
from segopt_callbacks.export import audit
from segopt_callbacks.export.checks import Opened, begin_on_one_thread, is_timed
from segopt_callbacks.export.delivery import embed
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.inference import Sources
from segopt_callbacks.export.openers import LIGHT, opener
from segopt_callbacks.export.report import weighed
from segopt_callbacks.export.settings import ExportSettings
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Target
from segopt_callbacks.processes import Process, TensorFlowProcess, worker

_FLOAT_FORMATS = [name for name, one in TARGETS.items() if one.file_name.endswith(".tflite") and not one.is_integer]
_IMPORTING, _WRITING = "importing what opens it", "writing it"


@dataclass(frozen=True)
class Written:
    """A file that was written, opened and audited.

    Attributes:
        opened: the file, in its process.
        told: what it tells about itself.
        rows: of its weight audit.
        activations: what it computes, where it can tell.
        floats: operations that compute in float inside an integer file.
        notes: what else the report should tell.
        weight: its bytes, see `report.weighed`.
        seconds: for its source, its conversion, opening and auditing it; without waiting for other formats.
    """

    opened: Opened
    told: dict[str, Any]
    rows: list[dict[str, Any]]
    activations: list[dict[str, Any]]
    floats: list[str]
    notes: dict[str, Any]
    weight: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class _Made:
    """What a format is made from, and the seconds that it took."""

    source: Source
    seconds: float


@dataclass(frozen=True)
class _Begun:
    """A format in the hands of a process that writes it, and the one in which it will be opened."""

    made: _Made
    writing: Process
    opening: Process


def _begun(function: Callable[[Path], dict[str, Any]], path: Path) -> Future[dict[str, Any]]:
    """Calls a function in a thread of its own. Where an error or Ctrl-C comes first, nobody waits for its answer."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(function, path)
    finally:
        pool.shutdown(wait=False)


@dataclass
class Writer:
    """Writes files: `begin` all of them, then `finish` each, in any order.

    Attributes:
        sources: what formats are made from.
        folder: for the files.
        settings: what is asked of the export.
        open_processes: ends the processes.
    """

    sources: Sources
    folder: Path
    settings: ExportSettings
    open_processes: contextlib.ExitStack
    _made: dict[str, _Made | FormatError] = field(default_factory=dict)
    _begun: dict[str, _Begun | FormatError] = field(default_factory=dict)
    _converted: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tensorflow = self.open_processes.enter_context(TensorFlowProcess())
        LIGHT.warm(is_unhurried=False)

    def begin(self, name: str) -> None:
        """Makes what a format is made from, and begins to write it; waits for no other process."""
        start = time.monotonic()
        try:
            self._made[name] = _Made(self._source(name), time.monotonic() - start)
        except FormatError as error:
            self._made[name] = error
        if self._tensorflow.is_ready:
            self._begin_all()

    def _source(self, name: str) -> Source:
        return replace(
            self.sources.of(TARGETS[name]),
            allows_float=bool(self.settings.allowance),
            leaves_zeros_out=self.settings.sparse == "auto",
            accelerator=self.settings.accelerator,
        )

    def finish(self, name: str) -> Written:
        """Waits for a file, opens it in a process of its own, and audits it.

        Raises:
            FormatError: if any of that fails.
        """
        target, path = TARGETS[name], self.folder / TARGETS[name].file_name
        begun, converting = self._written(name)
        start = time.monotonic()
        weights = self.sources.stored(target)
        audit.require_size(path, weights, target.bytes_per_weight)
        told = self._described(name, path, begun)
        weighing = _begun(weighed, path)  # `gzip` is a program of its own, and takes longest
        with damage_is_named("auditing it"):
            rows = target.read_weights(path, weights)
            activations = target.read_activations(path) if target.read_activations else []
            weight = weighing.result()
        # Late: a runtime has the weights in forms of its own, and the next file is being converted meanwhile.
        opened = self._open(name, path, begun)
        with damage_is_named("auditing it"):
            floats = self._float_operations(target, path)  # late, too: no option helps what a runtime refuses
            notes = target.notes(path, weight) if target.notes else {}
        seconds = begun.made.seconds + converting + time.monotonic() - start
        return Written(opened, told, rows, activations, floats, notes, weight, seconds)

    def _begin_all(self) -> None:
        """Hands over what is not in the hands of a process."""
        for name, made in self._made.items():
            if name not in self._begun:
                try:
                    self._begun[name] = made if isinstance(made, FormatError) else self._begin(name, made)
                except FormatError as error:
                    self._begun[name] = error
        self._made.clear()

    def _begin(self, name: str, made: _Made) -> _Begun:
        target = TARGETS[name]
        arguments = worker.write_file, target.write, made.source, self.folder / target.file_name
        opening = self.open_processes.enter_context(opener(target))
        if target.uses_tensorflow:  # it waits for no other format
            opening.begin(*arguments, doing=_WRITING)
            writing = opening
        else:
            writing = self._tensorflow.begin(*arguments, doing=_WRITING)
        opening.begin(worker.know, target.load, embed, doing=_IMPORTING)  # while the file is written
        return _Begun(made, writing, opening)

    def _written(self, name: str) -> tuple[_Begun, float]:
        """A format whose file is there, and the seconds that its conversion took."""
        while True:
            self._begin_all()
            begun = self._begun[name]
            if isinstance(begun, FormatError):
                raise begun
            if name in self._converted:
                return begun, self._converted[name]
            self._take_answer(begun.writing)

    def _take_answer(self, process: Process) -> None:
        """Waits for the next file of a process. Where it dies, what waits there is begun again in another one."""
        waiting = {
            name: one
            for name, one in self._begun.items()
            if isinstance(one, _Begun) and one.writing is process and name not in self._converted
        }
        first = next(iter(waiting))  # answers come in the order in which formats were begun
        try:
            self._converted[first] = process.finish(doing=_WRITING, time_limit=self.settings.time_limit)
        except FormatError as error:
            self._begun[first] = error
            if not process.is_alive:
                for name in list(waiting)[1:]:
                    self._made[name] = waiting[name].made
                    del self._begun[name]

    def _described(self, name: str, path: Path, begun: _Begun) -> dict[str, Any]:
        process, limit = begun.opening, self.settings.time_limit
        process.finish(doing=_IMPORTING, time_limit=limit)
        describe = embed, path, name, begun.made.source, self._packages(TARGETS[name])
        return process.call(*describe, doing="describing it", time_limit=limit)

    def _open(self, name: str, path: Path, begun: _Begun) -> Opened:
        target, source, process = TARGETS[name], begun.made.source, begun.opening
        arguments = target.load, path, source, None
        process.call(worker.open_file, *arguments, doing="opening it", time_limit=self.settings.time_limit)
        pinned = None
        if self.settings.latency and is_timed(target):
            with contextlib.suppress(FormatError):  # `measure` meets it again, and tells
                pinned = self.open_processes.enter_context(begin_on_one_thread(target, path, source))
        return Opened(target, path, source, process, pinned)

    def _packages(self, target: Target) -> tuple[str, ...]:
        keras = "tf-keras" if compat.is_keras_2(self.sources.model) else "keras"
        return "segopt-callbacks", "tensorflow", keras, *target.requires

    def _float_operations(self, target: Target, path: Path) -> list[str]:
        operations = target.float_operations(path) if target.float_operations else []
        layers = {layer.name for layer in compat.all_layers(self.sources.model)} if operations else set()
        self.settings.allowance.require(operations, layers, _FLOAT_FORMATS)
        return operations
