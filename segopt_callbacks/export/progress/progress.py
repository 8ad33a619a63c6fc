"""What an export tells while it works: a bar on a terminal, lines in a pipe, nothing where nobody wants to hear."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from segopt_callbacks.errors import printable
from segopt_callbacks.export.progress.pace import Pace, about

PATIENCE = 8.0  # seconds of silence, after which a line says that the work goes on
_WIDTH = 30  # characters of the bar


class Progress:
    """Tells nothing; base of what does.

    Attributes:
        pace: how far the work is.
        doing: what is done now.
    """

    def __init__(self) -> None:
        self.pace = Pace(total=1.0, start=time.monotonic())
        self.doing = ""

    def plan(self, total: float) -> None:
        """How much there is to do, in the unit of `begin`."""
        self.pace = Pace(total, time.monotonic())

    def begin(self, doing: str, share: float, line: str = "") -> None:
        """A stage begins.

        Args:
            doing: what is done now, in few words.
            share: how long it takes beside the others.
            line: what is said of it where there is no bar to show it.
        """
        self.doing = printable(doing)
        self.pace.begin(share, time.monotonic())

    def counting(self, doing: str, total: int | None) -> Callable[[int, int], None]:
        """What is to be called after each batch of a stage, with the number of batches and of examples so far.

        Args:
            doing: what is done with them.
            total: how many batches there are, where that is known.
        """

        def told(batches: int, examples: int) -> None:
            self.doing = printable(f"{doing}, {examples} examples so far")
            if total:
                self.pace.reach(min(batches / total, 1.0), time.monotonic())

        return told

    def say(self, line: str) -> None:
        """Says something that stays."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        """Says nothing more."""


class Lines(Progress):
    """Lines, and one more whenever `PATIENCE` has passed without any."""

    def __init__(self) -> None:
        super().__init__()
        self._spoken = self._begun = time.monotonic()
        self._has_ended = threading.Event()
        self._watch = threading.Thread(target=self._break_silence, name="segopt-progress", daemon=True)

    def begin(self, doing: str, share: float, line: str = "") -> None:
        """A stage begins, with its line."""
        super().begin(doing, share, line)
        self._begun = time.monotonic()
        if line:
            self.say(line)

    def say(self, line: str) -> None:
        """Prints it."""
        self._spoken = time.monotonic()
        print(printable(f"export: {line}"), flush=True)

    def __enter__(self) -> Progress:
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._has_ended.set()
        self._watch.join()

    def _break_silence(self) -> None:
        wait = PATIENCE
        while not self._has_ended.wait(max(wait, 0.0)):
            now = time.monotonic()
            wait = self._spoken + PATIENCE - now
            if wait <= 0:
                left = about(self.pace.seconds_left(now))
                told = f"still {self.doing}, {now - self._begun:.0f} s so far"
                with contextlib.suppress(OSError, ValueError):  # nobody reads: who works will find out and say so
                    self.say(f"{told}; {left}" if left else told)
                wait = PATIENCE


class Bar(Progress):
    """One line at the bottom of a terminal: how far, how long yet, what is done now. Gone afterwards."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=sys.stdout)
        self._live = Live(console=self._console, get_renderable=self._shown, refresh_per_second=4, transient=True)

    def say(self, line: str) -> None:
        """Prints it above the bar."""
        self._console.print(printable(f"export: {line}"), markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Progress:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def _shown(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        fraction = self.pace.fraction(now)
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(width=len("export"))
        row.add_column(width=max(min(_WIDTH, self._console.width // 4), 4))
        row.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        told = [f"{fraction:4.0%}", about(self.pace.seconds_left(now)), self.doing]
        bar = ProgressBar(1.0, fraction, complete_style="green", finished_style="green")
        row.add_row("export", bar, Text(", ".join(filter(None, told))))
        return row


@contextlib.contextmanager
def telling(verbose: int) -> Iterator[Progress]:
    """What tells of one export: silent for `verbose=0`, a bar where somebody looks at a terminal, else lines."""
    with (Bar() if is_terminal() else Lines()) if verbose else Progress() as progress:
        yield progress


def is_terminal() -> bool:
    """Whether what is printed goes to a terminal that can go back in a line."""
    isatty = getattr(sys.stdout, "isatty", None)  # what stands in for it need not have that
    if isatty is None or not isatty():
        return False
    from rich.console import Console

    return not Console(file=sys.stdout).is_dumb_terminal
