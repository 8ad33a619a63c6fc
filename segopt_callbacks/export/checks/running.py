"""Files that are run, several at a time, each in a process of its own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.target import Runner
from segopt_callbacks.processes import Process, worker

AT_A_TIME = 3  # files that run at the same time; no runtime keeps all CPUs busy all of the time
_RUNNING = "running it"


@dataclass(frozen=True)
class Remote:
    """Runs a file that is open in another process; `begin` does not wait.

    Attributes:
        process: in which the file is open.
        time_limit: seconds for one batch.
    """

    process: Process
    time_limit: float

    def begin(self, inputs: list[np.ndarray]) -> Callable[[], list[np.ndarray]]:
        """Begins to run a batch; what is returned waits for the answers, and raises what went wrong."""
        self.process.begin(worker.run, inputs, doing=_RUNNING)
        return functools.partial(self.process.finish, doing=_RUNNING, time_limit=self.time_limit)

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The answers to a batch."""
        return self.begin(inputs)()


class Waiting:
    """A batch that goes through several files, the next ones while the answers of one are awaited and compared."""

    def __init__(self, runners: Mapping[str, Runner], inputs: list[np.ndarray]) -> None:
        self._left = iter(list(runners.items()))
        self._inputs = inputs
        self._begun: dict[str, Callable[[], list[np.ndarray]]] = {}
        for _ in range(AT_A_TIME):
            self._begin_next()

    def answers(self, name: str) -> list[np.ndarray]:
        """Those of a file, in the order of the runners; raises what it has raised."""
        try:
            return self._begun.pop(name)()
        finally:
            self._begin_next()

    def _begin_next(self) -> None:
        for name, runner in itertools.islice(self._left, 1):
            self._begun[name] = _begun(runner, self._inputs)


def _begun(runner: Runner, inputs: list[np.ndarray]) -> Callable[[], list[np.ndarray]]:
    if not isinstance(runner, Remote):
        return functools.partial(runner, inputs)
    try:
        return runner.begin(inputs)
    except FormatError as error:
        return functools.partial(_raise, error)


def _raise(error: FormatError) -> list[np.ndarray]:
    raise error
