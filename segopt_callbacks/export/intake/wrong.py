"""What is wrong with a file or an argument."""

from __future__ import annotations

from segopt_callbacks.errors import first_line

_LONGEST = 300  # characters of somebody else's message that are shown


class CommandError(ValueError):
    """A file or an argument that is not as it should be; the message says what to do."""


def told(error: BaseException) -> str:
    """What a library says is wrong, in one line that is not too long.

    >>> told(ValueError("no"))
    'no'
    """
    line = first_line(error)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
