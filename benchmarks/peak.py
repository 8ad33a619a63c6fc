"""The most memory in use while something runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def highest(in_use: Callable[[], int], interval: float) -> Iterator[list[int]]:
    """List whose only entry is the most bytes in use meanwhile, looked at every `interval` seconds."""
    most, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(interval):
            most[0] = max(most[0], in_use())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        is_over.set()
        thread.join()
