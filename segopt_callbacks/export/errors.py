"""What goes wrong with an export, named."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping


class FormatError(RuntimeError):
    """One format cannot be delivered; the message is the cause."""


class ExportError(RuntimeError):
    """Some formats could not be delivered; the others were.

    Attributes:
        causes: format -> why.
        report: the report of everything, the delivered formats included.

    Example:
        >>> str(ExportError({"int8": "ADD computes in float32"}, {}))
        'Export failed for 1 format: int8: ADD computes in float32'
    """

    def __init__(self, causes: Mapping[str, str], report: dict) -> None:
        self.causes = dict(causes)
        self.report = report
        formats = "1 format" if len(causes) == 1 else f"{len(causes)} formats"
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
        segopt_callbacks.export.errors.FormatError: auditing it raised KeyError: 'conv'; the file is damaged
    """
    try:
        yield
    except FormatError:
        raise
    except Exception as error:  # readers are made for sound files; generated code raises anything on others
        raise FormatError(f"{doing} raised {type(error).__name__}: {first_line(error)}; the file is damaged") from error


def first_line(error: BaseException) -> str:
    r"""What is wrong, in one line.

    Example:
        >>> first_line(ValueError("model.py:1:1: error: 'tf.Erf' op is neither a custom op nor a flex op\nnote: ..."))
        "'tf.Erf' op is neither a custom op nor a flex op"
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # MLIR begins with the place in the user's Python file; what is wrong follows "error:".
    told = next((line.partition(" error: ")[2] for line in lines if " error: " in line), lines[0] if lines else "")
    return told or type(error).__name__
