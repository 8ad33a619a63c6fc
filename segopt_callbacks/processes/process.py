"""Processes that write and run files, so that what crashes or hangs there costs one format and never the training."""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from segopt_callbacks.errors import FormatError
from segopt_callbacks.processes import worker

_CHATTER = re.compile(r"[IWE]\d{4} \d|WARNING: |fully_quantize: ")  # of TensorFlow, whatever happens
_PATIENCE = 5.0  # seconds that a process gets to end by itself
_PACKAGES = Path(__file__).resolve().parents[2]  # where this package is
VISIBLE_GPUS = "SEGOPT_CUDA_VISIBLE_DEVICES"  # what CUDA_VISIBLE_DEVICES is where the export was called


def import_path() -> list[str]:
    """Where this process imports from, as absolute paths, without the current folder.

    An empty entry means the current folder, whichever that is; a folder that is there by its name stays. The package
    itself is found wherever this process has found it.

    Example:
        >>> "" in import_path()
        False
    """
    folders = [os.path.abspath(folder) for folder in sys.path if folder]
    return list(dict.fromkeys([*folders, str(_PACKAGES)]))


def environment() -> dict[str, str]:
    """The variables of a process that is started now."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(import_path()),  # for what starts processes there
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "-1",  # TensorFlow takes all memory of a GPU that the training has taken already
        VISIBLE_GPUS: os.environ.get("CUDA_VISIBLE_DEVICES", ""),
    }


def program(module: str, *arguments: int | bool | str) -> list[str]:
    """The command that runs `main` of a module of this package with our import path.

    `-c` puts the current folder first on the path. Nothing is imported from there: `sys` is part of the interpreter.
    """
    call = f"import {module} as program; program.main({', '.join(map(repr, arguments))})"
    return [sys.executable, "-c", f"import sys; sys.path[:] = sys.argv[1:]; {call}", *import_path()]


class Child(Protocol):
    """What is known of a process that was started, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """The system's number of it."""
        ...

    def poll(self) -> int | None:
        """Its exit code, or minus the number of the signal that killed it; `None` while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; raises `subprocess.TimeoutExpired`."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


class Process:
    """A process that calls functions for us, one after another.

    Functions and arguments travel by pickle: functions by the name of their module, so they must be importable.

    Args:
        start: `(connection, output)`, two file descriptors, starts it; default: a new interpreter, `started`.
        variables: of the environment, beside those of this process, for the default.

    Example:
        >>> with Process() as process:
        ...     process.call(max, [3, 5], doing="counting", time_limit=60)
        5
    """

    _unanswered = 0  # calls that were begun and not finished

    def __init__(self, start: Callable[[int, int], Child] | None = None, **variables: str) -> None:
        ours, theirs = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  what libraries print; shown where the process dies
        with ours, theirs:
            descriptors = theirs.fileno(), self._output.fileno()
            try:
                self._process = start(*descriptors) if start else started(*descriptors, **variables)
            except BaseException:
                self._output.close()
                raise
            self._connection = Connection(ours.detach())

    def call(self, function: Callable[..., Any], *arguments: Any, doing: str, time_limit: float) -> Any:
        """Calls a function there.

        Args:
            function: importable by its name.
            arguments: what pickle takes.
            doing: what it does, for the error: "its process was killed by SIGSEGV while DOING".
            time_limit: seconds.

        Returns:
            what it returns.

        Raises:
            FormatError: if it raises, takes too long, or its process dies.
        """
        self.begin(function, *arguments, doing=doing)
        return self.finish(doing=doing, time_limit=time_limit)

    def begin(self, function: Callable[..., Any], *arguments: Any, doing: str) -> None:
        """The first half of `call`: does not wait. As many calls may be begun as are finished, in order.

        Raises:
            FormatError: if the function is not importable, or its process is dead.
        """
        try:
            request = pickle.dumps((function, arguments))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise FormatError(f"{worker.NOT_IMPORTABLE} Received: {error}") from error
        try:
            self._connection.send_bytes(request)
            self._unanswered += 1
        except ConnectionError as error:
            if self.is_idle:
                raise FormatError(self._obituary(doing)) from error
            self._unanswered += 1  # what it died of was begun before: `finish` tells
        except BaseException:
            self.kill()  # a half-written request is of no use to anybody
            raise

    def finish(self, *, doing: str, time_limit: float) -> Any:
        """The second half of `call`: waits for the answer."""
        try:
            if not self._connection.poll(time_limit):
                self.kill()
                raise FormatError(f"{doing} took longer than {time_limit:g} seconds; raise `time_limit`")
            answer = self._connection.recv()
            self._unanswered -= 1
        except (EOFError, ConnectionError) as error:
            raise FormatError(self._obituary(doing)) from error
        except BaseException:
            self.kill()  # a half-read answer is of no use to anybody
            raise
        if isinstance(answer, worker.Raised):
            cause = (
                answer.text if answer.kind == FormatError.__name__ else f"{doing} raised {answer.kind}: {answer.text}"
            )
            raise FormatError(cause) from RuntimeError(answer.trace)
        return answer

    @property
    def is_alive(self) -> bool:
        """Whether it can be called."""
        return not self._connection.closed and self._process.poll() is None

    @property
    def is_idle(self) -> bool:
        """Whether it has answered all calls."""
        return not self._unanswered

    @property
    def number(self) -> int:
        """The system's number of it."""
        return self._process.pid

    def kill(self) -> None:
        """Ends it at once, whatever it is doing."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """Lets it end."""
        self._connection.close()
        end(self._process)
        self._output.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_idle:
            self.close()
        else:
            self.kill()  # nobody is left to be answered

    def _obituary(self, doing: str) -> str:
        self._connection.close()
        code = self._process.wait()
        self._output.seek(0)
        printed = self._output.read().decode(errors="replace").strip().splitlines()
        self._output.close()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        told = [line for line in printed if not _CHATTER.match(line)]
        last = f"; it printed last: {told[-1][:200]}" if told else ""
        advice = "leave this format out, or find the layer that its library chokes on"
        return f"its process {how} while {doing}; {advice}{last}"


def started(connection: int, output: int, /, **variables: str) -> Child:
    """A new interpreter, which has imported nothing yet, and answers the calls that come through `connection`."""
    return subprocess.Popen(
        program(worker.__name__, connection),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**environment(), **variables},
        pass_fds=[connection],
    )


def end(child: Child) -> None:
    """Waits for the end of a process that has nothing more to do, and kills it where it takes too long."""
    try:
        child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
