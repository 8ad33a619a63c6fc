"""What a command owes its terminal: few words at start, one line when interrupted. Standard library only."""

from __future__ import annotations

import _thread
import contextlib
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType

SIGNALLED = 128  # and the signal's number: exit code of a command that a signal has ended
# Seconds. Who types Ctrl-C waits; what schedules jobs sends SIGTERM, and kills half a minute later.
PATIENCE = {signal.SIGINT: 2.0, signal.SIGTERM: 20.0}
# TensorFlow's C++ log lines of the levels information, warning and error about devices that are not there.
_NOISE = re.compile(r"[IWE]\d{4} |WARNING: All log messages before absl::InitializeLog|To enable the following instr")


class ExitOnInterrupt:
    """Context: Ctrl-C ends the process with one line and code 130, SIGTERM with another and code 143.

    The first signal waits for the next `check`: raised in a call-back from C++ or in a finalizer, it would abort the
    process or be dropped. A second one, or `PATIENCE` seconds, raise `KeyboardInterrupt` wherever the process is;
    whatever leaves the context then ends it in the same way.

    Args:
        line: what to print to stderr after Ctrl-C.
        on_terminate: what to print after SIGTERM; default: the same.
    """

    def __init__(self, line: str, on_terminate: str | None = None) -> None:
        self._lines = {signal.SIGINT: line, signal.SIGTERM: on_terminate or line}
        self._received: int | None = None
        self._again = threading.Timer(0.0, _thread.interrupt_main)

    def __enter__(self) -> ExitOnInterrupt:
        self._previous = {number: signal.signal(number, self._interrupt) for number in self._lines}
        return self

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._received:
            raise KeyboardInterrupt
        self._received = number
        self._again = threading.Timer(PATIENCE[signal.Signals(number)], _thread.interrupt_main)
        self._again.daemon = True
        self._again.start()

    def interrupted(self) -> bool:
        """Whether there was a signal; the caller, who is given all the time that he needs, is to end with `check`."""
        if self._received:
            self._again.cancel()
        return self._received is not None

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if there was a signal; to be called where nothing is half done."""
        if self.interrupted():  # whoever cleans up is left alone
            raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._again.cancel()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._received:
            sys.stdout.flush()
            print(f"\n{self._lines[signal.Signals(self._received)]}", file=sys.stderr, flush=True)
            # Whoever cleans up has done so on the way here; TensorFlow's threads abort an orderly end at times.
            os._exit(SIGNALLED + self._received)


@contextlib.contextmanager
def without_start_up_noise() -> Iterator[None]:
    """Context: TensorFlow's start-up log lines are left out of stderr; anything else written there is kept.

    They come from C++ before any log level is obeyed, so that only the file descriptor can be watched. Does nothing
    if `TF_CPP_MIN_LOG_LEVEL` is set: then the user wants to choose.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # what matters is raised as well
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            lines = caught.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not _NOISE.match(line)))
