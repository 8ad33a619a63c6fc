"""What goes wrong with an export, named."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterator, Mapping

_LISTED = 5
REMEDIES = {  # of what a disk answers
    errno.ENOSPC: "free space on that disk, or choose another `export_dir`",
    errno.EDQUOT: "free space within your quota, or choose another `export_dir`",
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`), or choose another `export_dir`",
    errno.EROFS: "choose another `export_dir`; this disk is mounted for reading only",
    errno.EIO: "choose an `export_dir` on another disk; this one fails",
}


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

    def __init__(self, causes: Mapping[str, str], report: dict) -> None:
        self.causes = dict(causes)
        self.report = report
        formats = "1 format" if len(causes) == 1 else f"{len(causes)} formats"
        entries = report.get("formats", {})
        self.delivered = [name for name, entry in entries.items() if entry["status"] == "ok"]
        super().__init__(f"Export failed for {formats}: " + "; ".join(f"{name}: {why}" for name, why in causes.items()))


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
    r"""What is wrong, in one line, and what helps where it is the disk.

    Example:
        >>> first_line(ValueError("model.py:1:1: error: 'tf.Erf' op is neither a custom op nor a flex op\nnote: ..."))
        "'tf.Erf' op is neither a custom op nor a flex op"
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # MLIR begins with the place in the user's Python file; what is wrong follows "error:".
    told = next((line.partition(" error: ")[2] for line in lines if " error: " in line), lines[0] if lines else "")
    told = told or type(error).__name__
    return f"{told}; {remedy(error)}" if _disk_error(error) else told


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
    else:
        error.add_note(text)


def _disk_error(error: BaseException) -> int | None:
    """The number of a disk's answer; libraries in C++ tell it in words."""
    number = error.errno if isinstance(error, OSError) else None
    told = (code for code in REMEDIES if os.strerror(code) in str(error))
    return number if number in REMEDIES else next(told, None)
