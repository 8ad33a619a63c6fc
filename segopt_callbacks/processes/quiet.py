"""A readable terminal while converters talk: what they print is kept back, and shown if something goes wrong."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any, Literal

from segopt_callbacks.errors import FormatError

# glog's "E0000 00:00:..." and "F0000 ..." lines, whatever the level of TF_CPP_MIN_LOG_LEVEL.
# TensorFlow's own graphs trip its loader's check for newer graphs; that line tells a user nothing.
ERROR_LINE = re.compile(rb"^[EF]\d{4} (?!.*NodeDef mentions attribute)")
_LOGGERS = ("tensorflow", "absl")  # of Python code; in notebooks they write elsewhere than to standard error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back what C++ code prints on standard error, and what TensorFlow's Python code logs below an error.

    Error lines are printed afterwards; if the body raises anything but a `FormatError`, all that was printed is.

    Example:
        >>> with quiet():
        ...     _ = os.write(2, b"I0000 00:00:1.0 1 loader.cc:1] Restoring SavedModel bundle.")
    """
    failed = True
    with tempfile.TemporaryFile() as held:
        try:
            with _written_to(held, 2), _python_to(held, "stderr"), _errors_alone():
                yield
            failed = False
        except FormatError:
            failed = False  # it carries its cause; the converter's own dump is 100 KB long
            raise
        finally:
            held.seek(0)
            for line in held:
                if failed or ERROR_LINE.match(line):
                    os.write(2, line)


@contextlib.contextmanager
def _python_to(file: IO[bytes], name: Literal["stdout", "stderr"]) -> Iterator[None]:
    """Sends Python's standard output or error to a file, whatever stands in for it: a notebook's, or that of a bar."""
    before = getattr(sys, name)
    redirect: Any = contextlib.redirect_stdout if name == "stdout" else contextlib.redirect_stderr
    python = open(os.dup(file.fileno()), "w", encoding="utf-8", buffering=1)  # noqa: SIM115  # closed below
    stream = _Stream(python)
    try:
        with python, redirect(stream):
            yield
    finally:
        stream.now = before


class _Stream:
    """A stream that becomes another one: a logger that is set up while one is redirected writes to it for good."""

    def __init__(self, now: Any) -> None:
        self.now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)


@contextlib.contextmanager
def _errors_alone() -> Iterator[None]:
    """Lets loggers log errors alone: "Assets written to ..." is about a folder that goes with the export."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(max(one.level, logging.ERROR))
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


@contextlib.contextmanager
def captured() -> Iterator[list[str]]:
    """Takes down what C++ code and Python print on standard output and standard error.

    Yields:
        the lines, not empty, once the body has ended, by an exception too.

    Example:
        >>> with captured() as lines:
        ...     _ = os.write(2, b"Failed to get registration from op code DENSIFY")
        >>> lines
        ['Failed to get registration from op code DENSIFY']
    """
    lines: list[str] = []
    with tempfile.TemporaryFile() as held:
        try:
            with _written_to(held, 1, 2), _python_to(held, "stderr"), _python_to(held, "stdout"):
                yield lines
        finally:
            held.seek(0)
            text = held.read().decode(errors="replace")
            lines.extend(line.strip() for line in text.splitlines() if line.strip())


@contextlib.contextmanager
def _written_to(file: IO[bytes], *descriptors: int) -> Iterator[None]:
    """Sends what is written to descriptors of this process to a file."""
    _flush()
    originals = {number: os.dup(number) for number in descriptors}
    try:
        for number in originals:
            os.dup2(file.fileno(), number)
        yield
    finally:
        _flush()
        for number, original in originals.items():
            os.dup2(original, number)
            os.close(original)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
