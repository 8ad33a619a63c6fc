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

INTERRUPTED = 130  # exit code of a command ended by Ctrl-C
PATIENCE = 2.0  # seconds
# TensorFlow's C++ log lines of the levels information, warning and error about devices that are not there.
_NOISE = re.compile(r"[IWE]\d{4} |WARNING: All log messages before absl::InitializeLog|To enable the following instr")


class ExitOnInterrupt:
    """Context: Ctrl-C ends the process with one line and code 130.

    The first Ctrl-C waits for the next `check`: raised in a call-back from C++ or in a finalizer, it would abort the
    process or be dropped. A second one, or `PATIENCE` seconds, raise `KeyboardInterrupt` wherever the process is;
    whatever leaves the context then ends it in the same way.

    Args:
        line: what to print to stderr.
    """

    def __init__(self, line: str) -> None:
        self.line = line
        self.interrupted = False
        self._again = threading.Timer(PATIENCE, _thread.interrupt_main)

    def __enter__(self) -> ExitOnInterrupt:
        self._previous = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self._again.daemon = True
        self._again.start()

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if there was a Ctrl-C; to be called where nothing is half done."""
        if self.interrupted:
            self._again.cancel()  # whoever cleans up is left alone
            raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._again.cancel()
        signal.signal(signal.SIGINT, self._previous)
        if self.interrupted:
            sys.stdout.flush()
            print(f"\n{self.line}", file=sys.stderr, flush=True)
            # Whoever cleans up has done so on the way here; TensorFlow's threads abort an orderly end at times.
            os._exit(INTERRUPTED)


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
