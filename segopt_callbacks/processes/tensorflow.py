"""Processes for functions that import TensorFlow, which takes seconds: what has imported it is kept and used again."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from segopt_callbacks.processes import nursery
from segopt_callbacks.processes.frames import when_left
from segopt_callbacks.processes.nursery import Nursery
from segopt_callbacks.processes.process import Process


class TensorFlowProcess:
    """A process for functions that import TensorFlow, and another one where that died.

    On Linux it is forked from a warm process, see `nursery`, which is kept for the next one. What is left of an export
    is kept for the next export too, unless the environment or the import path have changed.
    """

    _spare: ClassVar[list[tuple[Any, Process]]] = []  # with the settings that each was started with
    _nursery: ClassVar[Nursery | None] = None
    _lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self) -> None:
        self._settings = nursery.settings()
        self._process = self._taken()
        if self._process is None:
            self.warm(is_unhurried=False)  # it imports while this process makes what is to be written

    def call(self, function: Callable[..., Any], *arguments: Any, doing: str, time_limit: float) -> Any:
        """See `Process.call`."""
        return self._living().call(function, *arguments, doing=doing, time_limit=time_limit)

    def begin(self, function: Callable[..., Any], *arguments: Any, doing: str) -> Process:
        """See `Process.begin`; returns the process that is to `finish` it."""
        process = self._living()
        process.begin(function, *arguments, doing=doing)
        return process

    @property
    def is_ready(self) -> bool:
        """Whether a call begins at once, without waiting for an import of TensorFlow."""
        if self._process is not None and self._process.is_alive:
            return True
        warm = self.warm(is_unhurried=False)
        return warm is None or warm.is_ready

    def _living(self) -> Process:
        if self._process is None or not self._process.is_alive:
            self._process = self.new()
        return self._process

    @property
    def number(self) -> int:
        """The system's number of the process that the next call goes to."""
        return self._living().number

    def __enter__(self) -> TensorFlowProcess:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            if self._process is not None and self._process.is_alive:
                if not self._process.is_idle:
                    self._process.kill()  # nobody is left to be answered
                    return
                self._spare.append((self._settings, self._process))
            while len(self._spare) > 1:
                self._spare.pop(0)[1].close()

    @classmethod
    def _taken(cls) -> Process | None:
        with cls._lock:
            while cls._spare:
                settings, process = cls._spare.pop()
                if settings == nursery.settings() and process.is_alive:
                    return process
                process.close()
        return None

    @classmethod
    def warm(cls, *, is_unhurried: bool) -> Nursery | None:
        """Begins to import TensorFlow in another process, unless one has; does not wait.

        Args:
            is_unhurried: whether something else needs the CPUs more, until the first fork.

        Returns:
            the warm process; `None` where the system has none.
        """
        if not nursery.can_fork():
            return None
        with cls._lock:
            if cls._nursery is not None and not cls._nursery.is_usable:
                cls._nursery.close()
                cls._nursery = None
            if cls._nursery is None:
                cls._nursery = Nursery(is_unhurried=is_unhurried)
            return cls._nursery

    @classmethod
    def warm_during(cls, function_name: str) -> None:
        """Warms for an export at the end of a function that runs now, and ends what it has started if none comes.

        An interrupt or an error leaves the function without a word to anybody.

        Args:
            function_name: of the innermost function of that name among the callers, such as `"fit"`.
        """
        before = cls._nursery
        warm = cls.warm(is_unhurried=True)
        if warm is not None and warm is not before:
            when_left(function_name, lambda: cls._close_unused(warm))

    @classmethod
    def _close_unused(cls, warm: Nursery) -> None:
        with cls._lock:
            if cls._nursery is warm and not warm.is_used:
                cls._nursery = None
                warm.close()

    @classmethod
    def new(cls) -> Process:
        """A process that has computed nothing yet, and on Linux has imported TensorFlow."""
        for _ in range(2):  # it may have been killed since it was last used
            with cls._lock, contextlib.suppress(ConnectionError):
                warm = cls.warm(is_unhurried=False)
                if warm is not None:
                    return Process(warm.fork)
        return Process()  # if the warm ones die of the import, this one will, and its error tells

    @classmethod
    def close_spare(cls) -> None:
        """Ends the processes that are kept."""
        with cls._lock:
            while cls._spare:
                cls._spare.pop()[1].close()
            if cls._nursery is not None:
                cls._nursery.close()
                cls._nursery = None

    @classmethod
    def _forget(cls) -> None:
        """In a fork of this process: what is kept belongs to the one that it was forked from."""
        cls._inherited = cls._spare[:], cls._nursery  # nobody waits for them here
        cls._spare.clear()
        cls._nursery = None
        cls._lock = threading.RLock()  # another thread may have held it

    _inherited: ClassVar[Any] = None


atexit.register(TensorFlowProcess.close_spare)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=TensorFlowProcess._forget)
