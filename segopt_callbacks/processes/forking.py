"""The program of a process that imports a module once, and from then on forks processes that have it; see `nursery`.

It computes nothing, so that a runtime has neither threads nor devices when it forks. The import is done by a thread of
its own. Linux keeps a niceness for each thread, and lowers one that was raised only for who has the right. A fork
has the niceness of the main thread, which was never raised, and none of the other threads.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import struct
import sys
import threading
import warnings
from collections.abc import Iterator

from segopt_callbacks.processes import worker

ANSWER = struct.Struct("q")  # a process id, an exit code, or `RUNNING`
FORK = b"fork"  # with two descriptors: that of the connection, and that of the output
IS_READY = b"ready"  # answered by 1 where the import is done, else 0
RUNNING = -(2**31)
_NICER = 5  # than what trains, which gets three times as much of a CPU


def main(descriptor: int, module: str, is_unhurried: bool) -> None:
    """Serves until nobody is there to ask.

    Args:
        descriptor: of the socket through which requests come.
        module: what to import.
        is_unhurried: whether something else needs the CPUs more, until the first request.
    """
    worker.depend_on_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=descriptor)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    niceness = min(before + _NICER, 19) if is_unhurried else before
    importing = threading.Thread(target=_import, args=(module, niceness))
    importing.start()
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 64, 2)
        if not request:
            os._exit(0)  # nothing is left to be saved
        if request == FORK:
            _hurry(importing, before)
            importing.join()
            answer = _forked(control, *descriptors)
        elif request == IS_READY:
            _hurry(importing, before)
            answer = int(not importing.is_alive())
        else:
            answer = _code_of(int(request))
        control.sendall(ANSWER.pack(answer))


def _import(module: str, niceness: int) -> None:
    if niceness != os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    # What it raises is raised again in the fork that needs it, and told there.
    with contextlib.suppress(Exception), _without("keras"):
        importlib.import_module(module)
    gc.freeze()  # what stays for good: a collection in a fork neither looks at it nor copies its pages


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Keeps TensorFlow from importing what no file is written or run with, and takes a third of its time."""
    sys.modules[module] = None  # type: ignore[assignment]  # as Python has it for what must not be imported
    try:
        yield
    finally:
        del sys.modules[module]


def _hurry(importing: threading.Thread, niceness: int) -> None:
    """Somebody waits for the import: it gets as much of the CPUs as this user may give it."""
    if importing.is_alive() and importing.native_id is not None:
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, importing.native_id, niceness)


def _forked(control: socket.socket, connection: int, output: int) -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of threads that the fork will lack: NumPy's, which come back, and that of the import.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        control.close()
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)
        worker.main(connection)
    os.close(connection)
    os.close(output)
    return pid


def _code_of(pid: int) -> int:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else RUNNING
