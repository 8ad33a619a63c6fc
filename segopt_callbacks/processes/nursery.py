"""The warm process: it has imported a module, and others that need the module are forked from it at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from segopt_callbacks.processes import forking
from segopt_callbacks.processes.process import Child, end, environment, program

_OF_NO_LIBRARY = {"PWD", "OLDPWD", "SHLVL", "_", "PYTEST_CURRENT_TEST"}  # variables that no library computes by
_PATIENCE = 300.0  # seconds for the import


def can_fork() -> bool:
    """Whether a process that has imported TensorFlow may be forked here; frameworks of macOS abort then."""
    return sys.platform == "linux"


def settings() -> tuple[Any, ...]:
    """What a process takes from this one when it starts; another one is needed where it has changed."""
    variables = {name: value for name, value in environment().items() if name not in _OF_NO_LIBRARY}
    return variables, sys.executable, os.getpid()


class Nursery:
    """Imports a module in a process, and forks others from it.

    Args:
        module: name of what is imported; whatever it raises is raised again by who needs it.
        is_unhurried: whether something else needs the CPUs more, until the first fork.

    Attributes:
        settings: those that it was started with.
        is_used: whether anything was forked from it.
    """

    def __init__(self, module: str, *, is_unhurried: bool) -> None:
        self.settings = settings()
        self.is_used = False
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_PATIENCE)
        with theirs:
            self._process = subprocess.Popen(
                program(forking.__name__, theirs.fileno(), module, is_unhurried),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(),
                pass_fds=[theirs.fileno()],
            )

    @property
    def is_usable(self) -> bool:
        """Whether it lives, and what is started now would be like it."""
        return self._process.poll() is None and self.settings == settings()

    @property
    def is_ready(self) -> bool:
        """Whether it has imported its module, or is dead: whether `fork` does not wait."""
        try:
            return bool(self.ask(forking.IS_READY))
        except ConnectionError:
            return True

    @property
    def number(self) -> int:
        """The system's number of it."""
        return self._process.pid

    def fork(self, connection: int, output: int) -> Child:
        """A process that has imported the module, see `process.started`; waits until the import is done.

        Raises:
            ConnectionError: if the warm process was killed.
        """
        self.is_used = True
        return _Fork(self, self.ask(forking.FORK, connection, output))

    def ask(self, request: bytes, *descriptors: int) -> int:
        """One question, and its answer."""
        with self._lock:
            try:
                socket.send_fds(self._control, [request], descriptors)
                answer = self._control.recv(forking.ANSWER.size, socket.MSG_WAITALL)
                if not answer:
                    raise ConnectionError("the warm process was killed")
            except BaseException as error:
                self._process.kill()  # an answer that comes later would be taken for that of another question
                self._process.wait()
                if isinstance(error, OSError):  # no answer in time is one, too
                    raise ConnectionError(str(error)) from error
                raise
        return forking.ANSWER.unpack(answer)[0]

    def close(self) -> None:
        """Lets it end, and what was forked from it."""
        self._control.close()
        end(self._process)


class _Fork:
    """A fork of a nursery, which alone is told of its end."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._code: int | None = None

    def poll(self) -> int | None:
        """See `Child`."""
        if self._code is None:
            try:
                code = self._nursery.ask(str(self.pid).encode())
            except ConnectionError:
                code = -signal.SIGKILL  # the system ends it with the one that it was forked from
            self._code = None if code == forking.RUNNING else code
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """See `Child`."""
        start, pause = time.monotonic(), 0.0005
        while self.poll() is None:
            if timeout is not None and time.monotonic() - start > timeout:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return self._code  # type: ignore[return-value]

    def kill(self) -> None:
        """See `Child`."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
