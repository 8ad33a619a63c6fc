"""The process that imports TensorFlow and forks; `python server.py ADDRESS CONTROL LISTENER`, see `client`.

A fork copies one thread of a process. This one has no other: BLAS is told so by its environment, and TensorFlow starts
its threads with the first operation. The fork leaves the loop and runs its program as the last lines of this file, so
that the interpreter ends as it does behind any program: errors, exit codes, what `atexit` has to do.
"""

import contextlib
import os
import pathlib
import pickle
import runpy
import select
import signal
import socket
import struct
import sys
import tempfile
import types


def forever(control, listener):
    """Forks for whoever asks; returns in the forks, with what was asked for."""
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting = {}
    while True:
        ready, _, _ = select.select([control, listener, waking], [], [])
        if control in ready:
            os._exit(0)  # nobody is there any more
        if waking in ready:
            os.read(waking, 1000)
            for pid in list(waiting):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    told = waiting.pop(pid)
                    with contextlib.suppress(OSError):  # who asked may have ended
                        told.sendall(struct.pack("q", status))
                    told.close()
        if listener in ready:
            asking, _ = listener.accept()
            request, descriptors = asked(asking)
            if request is None:
                asking.close()
                continue
            assert len(os.listdir("/proc/self/task")) == 1
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for one in (waking, woken):
                    os.close(one)
                for other in (control, listener, asking, *waiting.values()):
                    other.close()
                return request, descriptors
            with contextlib.suppress(OSError):
                asking.sendall(struct.pack("q", pid))
            waiting[pid] = asking
            for descriptor in descriptors:
                os.close(descriptor)


def asked(asking):
    """What somebody asks for, and the descriptors; `None` and `None` of one who was killed meanwhile."""
    descriptors = []
    try:
        header, descriptors, _, _ = socket.recv_fds(asking, 8, 16)
        (size,) = struct.unpack("q", header)
        content = bytearray()
        while len(content) < size:
            if not (part := asking.recv(1 << 16)):
                raise EOFError
            content += part
        return pickle.loads(content), descriptors
    except (OSError, struct.error, EOFError):
        for descriptor in descriptors:
            os.close(descriptor)
        return None, None


def take(request, descriptors):
    """Descriptors, folder and environment of the program."""
    high = [os.dup2(one, 200 + index) for index, one in enumerate(descriptors)]
    for descriptor in descriptors:
        os.close(descriptor)
    for one, number in zip(high, request["descriptors"], strict=True):
        os.dup2(one, number)
        os.close(one)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = os.environ.get("TMPDIR")  # that of the server was another


def prepare(arguments, base):
    """Sets `sys.argv` and the import path; returns how the program runs, and what."""
    import warnings

    kind = "script"
    while arguments[0].startswith("-"):
        flag = arguments.pop(0)
        if flag == "-W":
            warnings.simplefilter(arguments.pop(0))
        elif flag in ("-c", "-m"):
            kind = flag
            break
        else:
            raise ValueError(f"not known here: {flag}")
    program = arguments[0]
    first = {"-c": "", "-m": os.getcwd(), "script": os.path.dirname(os.path.abspath(program))}[kind]
    given = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.path[:] = [first, *given, *base]
    sys.argv[:] = [kind if kind != "script" else program, *arguments[1:]]
    return kind, program


if __name__ == "__main__":
    ADDRESS = sys.argv[1]
    BASE = sys.path[1:]
    CONTROL, LISTENER = (socket.socket(fileno=int(one)) for one in sys.argv[2:])
    import tensorflow as tf

    tf.keras.layers  # noqa: B018  the Keras that the environment chooses is imported late

    import gc
    import subprocess

    CLIENT = runpy.run_path(os.path.join(os.path.dirname(__file__), "client.py"))
    gc.collect()
    gc.freeze()
    REQUEST, DESCRIPTORS = forever(CONTROL, LISTENER)
    take(REQUEST, DESCRIPTORS)
    os.environ["TESTS_WARM_SERVER"] = ADDRESS
    subprocess.Popen = CLIENT["PopenOfImports"]
    KIND, PROGRAM = prepare(REQUEST["arguments"], BASE)
    if KIND == "-m":
        runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        if KIND == "-c":
            source, name = PROGRAM, "<string>"
        else:
            source, name = pathlib.Path(PROGRAM).read_text(), PROGRAM
            main.__file__ = PROGRAM
        exec(compile(source, name, "exec"), main.__dict__)
