"""Processes that have imported a module already, as many as are asked for."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from typing import Any

from segopt_callbacks.processes.frames import when_left
from segopt_callbacks.processes.nursery import Nursery, can_fork
from segopt_callbacks.processes.process import Process


class Stock:
    """Forks processes from a warm one, see `Nursery`, which is replaced where it has died or would not be like this.

    Args:
        module: what all of them have imported.

    Attributes:
        nursery: the warm process, if there is one.

    Example:
        >>> stock = Stock("json")
        >>> with stock.new() as process:
        ...     process.call(max, [3, 5], doing="counting", time_limit=60)
        5
        >>> stock.close()
    """

    def __init__(self, module: str) -> None:
        self.module = module
        self.nursery: Nursery | None = None
        self._lock = threading.RLock()
        self._inherited: Any = None
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def warm(self, *, is_unhurried: bool) -> Nursery | None:
        """Begins to import the module in another process, unless one has; does not wait.

        Args:
            is_unhurried: whether something else needs the CPUs more, until the first fork.

        Returns:
            the warm process; `None` where the system has none.
        """
        if not can_fork():
            return None
        with self._lock:
            if self.nursery is not None and not self.nursery.is_usable:
                self.close()
            if self.nursery is None:
                self.nursery = Nursery(self.module, is_unhurried=is_unhurried)
            return self.nursery

    def warm_during(self, function_name: str) -> None:
        """Warms for the end of a function that runs now, and ends what it has started if nothing is forked by then.

        An interrupt or an error leaves the function without a word to anybody.

        Args:
            function_name: of the innermost function of that name among the callers, such as `"fit"`.
        """
        before = self.nursery
        warm = self.warm(is_unhurried=True)
        if warm is not None and warm is not before:
            when_left(function_name, lambda: self._close_unused(warm))

    def new(self) -> Process:
        """A process that has computed nothing yet, and where the system can fork has imported the module."""
        for _ in range(2):  # it may have been killed since it was last used
            with self._lock, contextlib.suppress(ConnectionError):
                warm = self.warm(is_unhurried=False)
                if warm is not None:
                    return Process(warm.fork)
        return Process()  # if the warm ones die of the import, this one will, and its error tells

    def close(self) -> None:
        """Ends the warm process, and what was forked from it."""
        with self._lock:
            if self.nursery is not None:
                self.nursery.close()
                self.nursery = None

    def _close_unused(self, warm: Nursery) -> None:
        with self._lock:
            if self.nursery is warm and not warm.is_used:
                self.close()

    def _forget(self) -> None:
        """In a fork of this process: the warm process belongs to the one that it was forked from."""
        self._inherited = self.nursery  # nobody waits for it here
        self.nursery = None
        self._lock = threading.RLock()  # another thread may have held it
