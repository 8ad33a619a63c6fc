"""Ctrl-C that is never lost."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def remembered_interrupts() -> Iterator[Callable[[], None]]:
    """Remembers Ctrl-C beside raising `KeyboardInterrupt`.

    Python drops an exception that is raised inside a finalizer, and TensorFlow has many: without this 3 of 100
    interrupts of an export went unheard. Another handler than Python's own is left in its place, and so are threads.

    Yields:
        function that raises `KeyboardInterrupt` if there was an interrupt; call it between two steps of work. It is
        called once more at the end.

    Example:
        >>> with remembered_interrupts() as check:
        ...     check()
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield lambda: None
        return
    interrupted = threading.Event()

    def handle(number: int, frame: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    def check() -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, before)
