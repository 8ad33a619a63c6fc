"""What goes wrong with an export, named."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

_LISTED = 5
REMEDIES = {  # of what a disk answers
    errno.ENOSPC: "free space on that disk, or choose another `export_dir`",
    errno.EDQUOT: "free space within your quota, or choose another `export_dir`",
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`), or choose another `export_dir`",
    errno.EROFS: "choose another `export_dir`; this disk is mounted for reading only",
    errno.EIO: "choose an `export_dir` on another disk; this one fails",
}

_LONGEST_CHAIN = 5  # causes of causes that an error tells of
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_WRAP = re.compile(r"Exception encountered when calling (?:layer )?(.+?)\.?$")
_ARGUMENTS = re.compile(r"(?:Call a|A)rguments received by ")
_INSIDE = re.compile(
    r"(?:Last e|E)xception encountered(?: was)?: (.*)"
)  # while an object is made from its configuration
_KIND = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception): ")
# Where TensorFlow's errors say in which program, graph and operation they were raised.
_PLACE = re.compile(
    r'in user code:|File "|[~^]+$|Graph execution error:|Detected at node |<stack traces |\d+ root error|\[\['
    r"|.*\(most recent call last\):?$"
)
_NODE = re.compile(r"^loc\(.*?\): |^\(\d+\) |\{\{[^}]*\}\} ?")


class SettingsError(ValueError):
    """Settings that this model, on this machine, cannot meet; what it is, is known only once a fit begins."""


class FormatError(RuntimeError):
    """One format cannot be delivered; the message is the cause."""


class ExportError(RuntimeError):
    """Some formats could not be delivered; the others were.

    Attributes:
        causes: format -> why.
        report: the report of everything, the delivered formats included.
        delivered: names of the formats that could be.

    Example:
        >>> str(ExportError({"int8": "ADD computes in float32"}, {}))
        'Export failed for 1 format: int8: ADD computes in float32'
    """

    def __init__(self, causes: Mapping[str, str], report: Any) -> None:
        self.causes = dict(causes)
        self.report = report
        formats = "1 format" if len(causes) == 1 else f"{len(causes)} formats"
        entries = report.get("formats", {})
        self.delivered = [name for name, entry in entries.items() if entry["status"] == "ok"]
        told = (printable(f"{name}: {why}") for name, why in causes.items())
        super().__init__(f"Export failed for {formats}: {'; '.join(told)}")


@contextlib.contextmanager
def damage_is_named(doing: str) -> Iterator[None]:
    """Turns whatever a reader raises on a damaged file into a `FormatError`.

    Args:
        doing: what is done, for the error: "DOING raised KeyError: ...".

    Example:
        >>> with damage_is_named("auditing it"):
        ...     {}["conv"]
        Traceback (most recent call last):
        segopt_callbacks.errors.FormatError: auditing it raised KeyError: 'conv'; the file is damaged
    """
    try:
        yield
    except FormatError:
        raise
    except Exception as error:  # readers are made for sound files; generated code raises anything on others
        raise FormatError(f"{doing} raised {type(error).__name__}: {first_line(error)}; the file is damaged") from error


def listed(names: Collection[str]) -> str:
    """Names for a message: the first five, and how many more there are.

    >>> listed(["a", "b"]), listed("abcdefg")
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    shown = ", ".join(list(names)[:_LISTED])
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown


def first_line(error: BaseException) -> str:
    r"""What is wrong, in one line: in which layer, its innermost cause, and what helps where it is the disk.

    Keras wraps what a layer raises in a text of many lines, one wrap for each layer around it; TensorFlow puts the
    user's program before it.

    Example:
        >>> first_line(ValueError("model.py:1:1: error: 'tf.Erf' op is neither a custom op nor a flex op\nnote: ..."))
        "'tf.Erf' op is neither a custom op nor a flex op"
        >>> first_line(ValueError("Exception encountered when calling GRU.call().\n\nno state\n\nArguments received"))
        'GRU.call(): no state'
    """
    told = innermost(str(error)) or type(error).__name__
    cause, depth = error.__cause__, 0
    while cause is not None and depth < _LONGEST_CHAIN:
        inner = innermost(str(cause))
        if inner and inner not in told:
            told = f"{told} ({type(cause).__name__}: {inner})"
        cause, depth = cause.__cause__, depth + 1
    told = printable(told)
    return f"{told}; {remedy(error)}" if _disk_error(error) else told


def printable(text: str) -> str:
    r"""Text of one line that every terminal takes, whatever somebody has called a file or a layer.

    >>> printable("a\nb\x1b[31m")
    'a\\nb\\x1b[31m'
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def remedy(error: BaseException) -> str:
    """What helps against an error of the disk.

    Example:
        >>> remedy(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        'free space on that disk, or choose another `export_dir`'
    """
    return REMEDIES.get(_disk_error(error) or 0, "choose another one, or change its permissions")


def add_to(error: BaseException, text: str) -> None:
    """Lets an exception say something more; what it is and says stays.

    Example:
        >>> error = OSError(errno.ENOSPC, "No space left on device", "int8.tflite")
        >>> add_to(error, "free some")
        >>> str(error), error.errno == errno.ENOSPC
        ("[Errno 28] No space left on device; free some: 'int8.tflite'", True)
    """
    if isinstance(error, OSError) and error.strerror:
        error.strerror = f"{error.strerror}; {text}"
    elif len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}; {text}",)
    elif add_note := getattr(error, "add_note", None):
        add_note(text)
    else:  # Python 3.10 has no notes; its tracebacks show causes
        note = RuntimeError(text)
        note.__cause__, note.__context__ = error.__cause__, error.__context__
        error.__cause__ = note


def _disk_error(error: BaseException) -> int | None:
    """The number of a disk's answer; libraries in C++ tell it in words."""
    number = error.errno if isinstance(error, OSError) else None
    told = (code for code in REMEDIES if os.strerror(code) in str(error))
    return number if number in REMEDIES else next(told, None)


def innermost(text: str) -> str:
    r"""The line of an error's text that says what is wrong, after the layer in which it is; see `first_line`.

    Example:
        >>> innermost('loc(fused["Erf:", "x/Erf@serve"] at fused["f:"])): \'tf.Erf\' op is neither')
        "'tf.Erf' op is neither"
        >>> innermost("in user code:\n\n    File \"a.py\", line 3, in call\n        return 1 / 0\n\n    TypeError: no")
        'no'
    """
    lines = [line.strip() for line in _COLOURS.sub("", text).splitlines()]
    lines = [line for line in lines if line]
    lines = lines[: next((index for index, line in enumerate(lines) if index and _ARGUMENTS.match(line)), None)]
    layer, start = "", 0
    for index, line in enumerate(lines):
        if match := _WRAP.search(line):
            layer, start = match[1], index + 1
        elif match := _INSIDE.match(line):
            lines[index], start = match[1], index
    told = _told(lines[start:]) or (layer and lines[start - 1])
    return f"{layer}: {told}" if layer and not told.startswith(layer) and start and lines[start:] else told


def _told(lines: list[str]) -> str:
    """The line that says what is wrong, behind those that say where."""
    is_traced = bool(lines) and lines[0] == "in user code:"
    while lines and _PLACE.match(lines[0]):
        # Python's tracebacks have the line of the program below the file and the number.
        skipped = 2 if is_traced and lines[0].startswith('File "') else 1
        lines = lines[skipped:]
    # MLIR begins with the place in the user's Python file; what is wrong follows "error:".
    told = next((line.partition(" error: ")[2] for line in lines if " error: " in line), lines[0] if lines else "")
    told = _KIND.sub("", told, count=1) if is_traced else told
    told = _NODE.sub("", told)
    return f"{told} {lines[1]}" if told.endswith(":") and len(lines) > 1 else told
