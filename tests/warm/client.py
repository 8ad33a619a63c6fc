"""`subprocess.Popen`, but the process is forked by the server of this process."""

from __future__ import annotations

import atexit
import os
import pickle
import select
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("server.py")
ADDRESS = "TESTS_WARM_SERVER"  # where the server listens that this process was forked from
IMPORTER = "segopt_callbacks.processes.forking"  # the program that forks the processes of exports
CAN_FORK = sys.platform == "linux"  # elsewhere frameworks abort behind a fork


_Original = subprocess.Popen  # which `server` replaces in forks


class Popen(_Original):
    """`subprocess.Popen` for `[sys.executable, ("-W", "ignore"), "-c" CODE | "-m" MODULE | SCRIPT, ...]`."""

    _told: socket.socket | None = None  # the server tells how the process has ended

    def _execute_child(self, args: Any, executable: Any, preexec: Any, *others: Any) -> None:
        _, pass_fds, cwd, env, _, _, shell, *pipes = others[:13]
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = pipes
        environment = dict(os.environ if env is None else env)
        if not CAN_FORK or shell or preexec or _keras(environment) != _keras(os.environ):
            _Original._execute_child(self, args, executable, preexec, *others)
            return
        assert args[0] == sys.executable, args
        streams = [ours if ours != -1 else own for own, ours in enumerate((p2cread, c2pwrite, errwrite))]
        request = {
            "arguments": [os.fspath(one) for one in args[1:]],
            "cwd": os.fspath(cwd) if cwd else os.getcwd(),
            "environment": environment,
            "descriptors": [0, 1, 2, *pass_fds],
        }
        self._told = socket.socket(socket.AF_UNIX)
        self._told.connect(_of_no_file_system(_address()))
        content = pickle.dumps(request)
        socket.send_fds(self._told, [struct.pack("q", len(content))], [*streams, *pass_fds])
        self._told.sendall(content)
        self.pid = _number(self._told)
        self._child_created = True
        ends = ((p2cread, p2cwrite), (c2pwrite, c2pread), (errwrite, errread))
        devnull = getattr(self, "_devnull", -1)  # of several streams, maybe
        for descriptor in {ours for ours, kept in ends if ours != -1 and (kept != -1 or ours == devnull)}:
            os.close(descriptor)
        if hasattr(self, "_devnull"):
            del self._devnull

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._told is None:
            return super()._try_wait(wait_flags)
        if wait_flags & os.WNOHANG and not select.select([self._told], [], [], 0)[0]:
            return 0, 0
        status = _number(self._told)
        self._told.close()
        return self.pid, status

    def _internal_poll(self, *arguments: Any, **named: Any) -> int | None:
        if self._told is None:
            return super()._internal_poll(*arguments, **named)
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                ended, status = self._try_wait(os.WNOHANG)
                if ended:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


class PopenOfImports(Popen):
    """`subprocess.Popen` in a fork: what that starts only to import TensorFlow is forked as well."""

    def _execute_child(self, args: Any, *others: Any) -> None:
        imports = isinstance(args, list) and args[0] == sys.executable and any(map(_imports_tensorflow, args))
        (Popen if imports else _Original)._execute_child(self, args, *others)


def run(
    arguments: Any, *, timeout: float | None = None, check: bool = False, capture_output: bool = False, **named: Any
) -> subprocess.CompletedProcess:
    """`subprocess.run`."""
    if capture_output:
        named |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(arguments, **named) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        finally:
            process.kill()
    done = subprocess.CompletedProcess(arguments, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


def _imports_tensorflow(argument: Any) -> bool:
    return IMPORTER in str(argument) and "'tensorflow'" in str(argument)


def _keras(environment: Any) -> str | None:
    return environment.get("TF_USE_LEGACY_KERAS")


def _number(connection: socket.socket) -> int:
    answer = connection.recv(8, socket.MSG_WAITALL)
    if len(answer) < 8:
        raise ConnectionError("the server of warm processes has ended")
    return struct.unpack("q", answer)[0]


def _of_no_file_system(address: str) -> str:
    return "\0" + address


_lock = threading.Lock()
_started: list[Any] = []


def _close(control: socket.socket, process: subprocess.Popen) -> None:
    control.close()
    process.wait()


def _address() -> str:
    """Where the server listens; it is started by the first who asks, and ends with that one."""
    if ADDRESS in os.environ:
        return os.environ[ADDRESS]
    with _lock:
        if not _started:
            ours, theirs = socket.socketpair()
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(_of_no_file_system(address := f"segopt-tests-{os.getpid()}"))
            listener.listen()
            descriptors = [theirs.fileno(), listener.fileno()]
            environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            process = subprocess.Popen(
                [sys.executable, str(SERVER), address, *map(str, descriptors)],
                env={**environment, "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"},
                cwd="/",
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if "WARM_DEBUG" not in os.environ else None,
            )
            theirs.close()
            listener.close()
            _started.extend([ours, process, address])
            atexit.register(_close, ours, process)
    return _started[-1]
