"""Processes for functions that import TensorFlow, which takes seconds: what has imported it is kept and used again."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from segopt_callbacks.processes import nursery
from segopt_callbacks.processes.process import Process
from segopt_callbacks.processes.stock import Stock


class TensorFlowProcess:
    """A process for functions that import TensorFlow, and another one where that died.

    It comes out of a stock, which is kept for the next one. What is left of an export is kept for the next export too,
    unless the environment or the import path have changed.

    Attributes:
        stock: of processes that have computed nothing yet.
    """

    stock: ClassVar[Stock] = Stock("tensorflow")

    _spare: ClassVar[list[tuple[Any, Process]]] = []  # with the settings that each was started with
    _lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self) -> None:
        self._settings = nursery.settings()
        self._process = self._taken()
        if self._process is None:
            self.stock.warm(is_unhurried=False)  # it imports while this process makes what is to be written

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
        warm = self.stock.warm(is_unhurried=False)
        return warm is None or warm.is_ready

    def _living(self) -> Process:
        if self._process is None or not self._process.is_alive:
            self._process = self.stock.new()
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
    def close_spare(cls) -> None:
        """Ends the processes that are kept."""
        with cls._lock:
            while cls._spare:
                cls._spare.pop()[1].close()
            cls.stock.close()

    @classmethod
    def _forget(cls) -> None:
        """In a fork of this process: what is kept belongs to the one that it was forked from."""
        cls._inherited = cls._spare[:]  # nobody waits for them here
        cls._spare.clear()
        cls._lock = threading.RLock()  # another thread may have held it

    _inherited: ClassVar[Any] = None


atexit.register(TensorFlowProcess.close_spare)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=TensorFlowProcess._forget)
