"""What the commands have in common: a reader that leaves, and flags that are misspelt. Standard library only."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from segopt_callbacks.rules import did_you_mean

NOBODY_READS = 141  # what a shell says of a tool that SIGPIPE has ended


def ends_with_its_reader(main: Callable[..., int]) -> Callable[..., int]:
    """Lets a command end without a word where nobody reads on, as in `COMMAND | head -1`.

    Args:
        main: of the command: arguments -> exit code.

    Example:
        >>> @ends_with_its_reader
        ... def main():
        ...     raise BrokenPipeError
        >>> main()  # doctest: +SKIP
        141
    """

    @functools.wraps(main)
    def run(*arguments: Any, **options: Any) -> int:
        try:
            try:
                return main(*arguments, **options)
            finally:
                sys.stdout.flush()  # here, and not when the process ends, where it would be a message
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes nowhere
            return NOBODY_READS

    return run


class Parser(argparse.ArgumentParser):
    """Names the flag that was probably meant by one that it does not know."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with code 2, after the usage and a message."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            known = [one for action in self._actions for one in action.option_strings]
            hint = did_you_mean(unknown.split("=")[0].split()[0], known, is_quoted=False)
            message = f"arguments must be among those of --help.{hint} Received: {unknown}."
        super().error(message)
