"""The program of a process that writes or runs one file after the other for an export; see `processes`.

It reads `(function, arguments)` from a socket, calls, and writes what came out. Functions import TensorFlow if they
need it. When the socket closes, or the process that started this one dies, it ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.processes.memory import give_back

NOT_IMPORTABLE = (
    "The functions of a format must be importable in another process; define them at the top of a module of their own, "
    "not in the script that runs."
)
_SET_PARENT_DEATH_SIGNAL = 1  # of Linux' prctl


@dataclass(frozen=True)
class Raised:
    """An exception on its way to the other process.

    Attributes:
        kind: name of its class.
        text: what it says, in one line.
        trace: the whole traceback.
    """

    kind: str
    text: str
    trace: str

    @classmethod
    def by(cls, error: BaseException) -> Raised:
        """What is to be told of `error`."""
        return cls(type(error).__name__, first_line(error), traceback.format_exc())


def main(descriptor: int) -> None:
    """Answers the calls that come through a socket, until nobody is there to ask.

    Args:
        descriptor: of the socket.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the asking process too, which ends this one
    depend_on_parent()
    connection = Connection(descriptor)
    try:
        while True:
            connection.send(_answer(connection))
    except (EOFError, ConnectionError):
        pass
    finally:
        os._exit(0)  # nothing is left to be saved, and finalizers of runtimes have been seen to crash


def depend_on_parent() -> None:
    """Makes the system end this process with the thread that has started it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _answer(connection: Connection) -> Any:
    try:
        function, arguments = _received(connection)
        return function(*arguments)
    except (EOFError, ConnectionError):
        raise
    except BaseException as error:
        return Raised.by(error)


def _received(connection: Connection) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    try:
        return connection.recv()
    except (AttributeError, ImportError) as error:
        raise FormatError(f"{NOT_IMPORTABLE} Received: {error}") from error


# --- one file that is written by this process ------------------------------------------------------------------------


def write_file(write: Callable[[Any, Path], None], source: Any, path: Path) -> float:
    """Writes a file by its target's function; temporary files of its converter are beside it, and go with the export.

    Args:
        write: as targets have it.
        source: what it is made from.
        path: the file, in the folder of the export that is under way.

    Returns:
        the seconds that it took.
    """
    start = time.monotonic()
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="temporary-", dir=path.parent, ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        try:
            write(source, path)
        finally:
            tempfile.tempdir = before[0]
            os.environ.pop("TMPDIR")
            if before[1] is not None:
                os.environ["TMPDIR"] = before[1]
            give_back()  # this process waits for the next file, while others run
    return time.monotonic() - start


# --- one file that is open in this process ---------------------------------------------------------------------------

_open: list[Callable[[list[Any]], list[Any]]] = []


def know(*functions: Callable[..., Any]) -> None:
    """Nothing: that the functions have come here has imported their modules."""


def open_file(load: Callable[..., Callable[[list[Any]], list[Any]]], *arguments: Any) -> None:
    """Loads a file by its target's function, for `run`."""
    _open[:] = [load(*arguments)]


def run(inputs: list[Any]) -> list[Any]:
    """The open file's answers to a batch."""
    return _open[0](inputs)


def time_runs(inputs: list[Any], warm_up: float, seconds: float, most: int) -> list[float]:
    """How long the open file takes for one batch, again and again.

    Args:
        inputs: the batch.
        warm_up: seconds of runs that do not count; one run at least.
        seconds: for all of it; one run is timed at least.
        most: runs that are timed.

    Returns:
        seconds of each run.
    """
    run_once, start = _open[0], time.perf_counter()
    run_once(inputs)
    while time.perf_counter() - start < warm_up:
        run_once(inputs)
    times: list[float] = []
    while not times or (len(times) < most and time.perf_counter() - start < seconds):
        begin = time.perf_counter()
        run_once(inputs)
        times.append(time.perf_counter() - begin)
    return times
