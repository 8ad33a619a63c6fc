"""How long one inference of every file takes on this machine: a small benchmark, in which the files take turns."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.checks.latency_figures import BASE, Turns, figures, is_narrow
from segopt_callbacks.export.openers import opener
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Target
from segopt_callbacks.processes import Process, cpus, worker

BUDGET = 10.0  # seconds for all runs of all files; none are timed where it is 0
ROUNDS, RUNS = 8, 10  # at most; runs of a file in one round
TURN = 0.05  # seconds of a turn, about; rounds tell more than runs, which share what slows a round
NARROW = 0.05  # of the median: a file whose interval is no wider makes no further rounds
WARM_UP = 0.01  # seconds of runs before each turn that do not count; one run at least
ONE_THREAD, ALL_THREADS = "one_thread", "all_threads"


@dataclass(frozen=True)
class Opened:
    """A file that has passed.

    Attributes:
        target: its format.
        path: where it is.
        source: what it was made from.
        process: in which it is open, on all threads.
        pinned: in which it is being opened on one thread; `None` where `measure` is to begin that.
    """

    target: Target
    path: Path
    source: Source
    process: Process
    pinned: Process | None = None


@dataclass(frozen=True)
class _Turn:
    """What is the same in every turn of every file; `share` is the seconds that a file has for all of its turns."""

    inputs: list[np.ndarray]
    share: float
    rounds: int
    narrow: float
    time_limit: float
    check: Callable[[], None]


@dataclass
class Latencies:
    """What came out of `measure`.

    Attributes:
        turns: `"one_thread"` and `"all_threads"` -> file -> seconds of its runs, round by round.
        figures: file -> `"one_thread"` and `"all_threads"` -> `latency_figures.figures`.
        causes: file -> why it could not be timed.
        settings: how it was measured, for the report; empty if nothing was.
    """

    turns: dict[str, Mapping[str, Turns]] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def measure(
    files: Mapping[str, Opened],
    inputs: Sequence[np.ndarray],
    *,
    budget: float | None = None,
    rounds: int = ROUNDS,
    narrow: float = NARROW,
    time_limit: float = 600.0,
    check: Callable[[], None] = lambda: None,
) -> Latencies:
    """Times every file at batch 1: on one thread, in a process that is pinned to one CPU, then on all threads.

    What is timed is one call of the runtime in its own process, with its copies from and to NumPy arrays. A file makes
    rounds until the interval of its median is narrow. Each has an equal share of about `budget` seconds: a slow one
    makes fewer rounds, a very slow one two runs. Opening files anew for one thread comes on top, where that was not
    begun before.

    Args:
        files: format -> file; those whose `Target.is_timed` is false are left out.
        inputs: of batch 1.
        budget: seconds for all runs; default: `BUDGET`.
        rounds: the most that a file makes.
        narrow: width of the interval, as a fraction of the median, at which a file makes no further rounds.
        time_limit: seconds for a turn of a file, and for opening it.
        check: called between turns; may raise.

    Returns:
        the figures. A file that cannot be timed has a cause instead; nothing is raised for it.
    """
    files = {name: one for name, one in files.items() if one.target.is_timed}
    found = Latencies()
    budget = BUDGET if budget is None else budget
    if not files or budget <= 0:
        return found
    turn = _Turn(list(inputs), budget / 2 / len(files), rounds, narrow, time_limit, check)
    cpu, load = cpus.to_pin(), os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with contextlib.ExitStack() as closing:
        pinned = _opened_on_one_thread(files, found.causes, closing, time_limit, check)
        found.turns[ONE_THREAD] = _take_turns(pinned, turn, found.causes)
    processes = {name: one.process for name, one in files.items() if name not in found.causes}
    found.turns[ALL_THREADS] = _take_turns(processes, turn, found.causes)
    for name in files:
        if name not in found.causes:
            found.figures[name] = {
                key: figures(of[name], of.get(BASE) if name != BASE and BASE not in found.causes else None)
                for key, of in found.turns.items()
            }
    found.settings = {"rounds": rounds, "cpus": len(cpus.available()), "pinned_to_cpu": cpu, "load_average": load}
    found.settings["about"] = _about(found)
    return found


def is_timed(target: Target) -> bool:
    """Whether a file is timed, if that is asked for."""
    return target.is_timed and BUDGET > 0


def begin_on_one_thread(target: Target, path: Path, source: Source) -> Process:
    """Begins to open a file on one thread, in a process that is pinned to one CPU; `measure` waits for it.

    It is pinned before a runtime is imported, which counts CPUs and starts threads. TensorFlow is there already: it
    does both when it computes for the first time.
    """
    process = opener(target)
    try:
        for call in _calls(target, path, source):
            process.begin(*call, doing=_OPENING)
    except BaseException:
        process.kill()
        raise
    return process


_OPENING = "opening it on one thread"


def _calls(target: Target, path: Path, source: Source) -> list[tuple[Any, ...]]:
    cpu = cpus.to_pin()
    pinning = [] if cpu is None else [(cpus.pin, cpu)]
    return [*pinning, (worker.open_file, target.load, path, source, 1)]


def _opened_on_one_thread(
    files: Mapping[str, Opened],
    causes: dict[str, str],
    closing: contextlib.ExitStack,
    time_limit: float,
    check: Callable[[], None],
) -> dict[str, Process]:
    begun, processes = {}, {}
    for name, one in files.items():
        check()
        try:
            begun[name] = one.pinned or closing.enter_context(begin_on_one_thread(one.target, one.path, one.source))
        except FormatError as error:
            causes[name] = str(error)
    for name, process in begun.items():
        check()
        one = files[name]
        try:
            for _ in _calls(one.target, one.path, one.source):
                process.finish(doing=_OPENING, time_limit=time_limit)
        except FormatError as error:
            causes[name] = str(error)
        else:
            processes[name] = process
    return processes


def _take_turns(processes: Mapping[str, Process], turn: _Turn, causes: dict[str, str]) -> dict[str, list[list[float]]]:
    """File -> seconds of its runs, round by round; every file is in the first, slow and steady ones not in the last."""
    order, shuffle = list(processes), random.Random(0).shuffle
    turns: dict[str, list[list[float]]] = {name: [] for name in processes}
    spent, last = dict.fromkeys(processes, 0.0), dict.fromkeys(processes, 0.0)
    for _ in range(turn.rounds):
        shuffle(order)  # so that no file always follows the same one
        for name in order:
            if name in causes or spent[name] + last[name] > turn.share or is_narrow(turns[name], turn.narrow):
                continue
            turn.check()
            start = time.monotonic()
            arguments = turn.inputs, WARM_UP, min(TURN, turn.share / turn.rounds), RUNS
            try:
                turns[name].append(
                    processes[name].call(worker.time_runs, *arguments, doing="timing it", time_limit=turn.time_limit)
                )
            except FormatError as error:
                causes[name] = str(error)
            last[name] = time.monotonic() - start
            spent[name] += last[name]
    return turns


def _about(found: Latencies) -> str:
    """How it was measured, in words."""
    settings, cpu = found.settings, found.settings["pinned_to_cpu"]
    one = "not pinned to a CPU, which this system does not offer" if cpu is None else f"pinned to CPU {cpu}"
    load = "" if settings["load_average"] is None else f" The load average was {settings['load_average']:.2f} before."
    return (
        "Milliseconds are those of one inference of batch 1, the median and its 95% interval (bootstrap over rounds). "
        f"Files took turns, in random order, in up to {settings['rounds']} rounds of up to {RUNS} runs each, fewer "
        f"where they are slow or their interval is narrow, each turn behind runs of {1000 * WARM_UP:g} ms that do not "
        f"count, one at least. One thread: {one}. All threads: as many as the runtime chooses on {settings['cpus']} "
        f"CPUs. Ratios are to {BASE}, round by round.{load}{_not_timed(found.causes.items())}"
    )


def _not_timed(causes: Iterable[tuple[str, str]]) -> str:
    return "".join(f" `{name}` could not be timed: {cause}." for name, cause in causes)
