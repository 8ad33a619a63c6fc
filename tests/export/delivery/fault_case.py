"""Exports that are killed, stopped, or run out of room, each in a process of its own; what is left is printed as JSON.

`python -m tests.export.delivery.fault_case moves FOLDER`: work that is published, and killed before each of its
operations on files.
`python -m tests.export.delivery.fault_case kills FOLDER NUMBER SEED`: real exports that are killed at random moments.
`python -m tests.export.delivery.fault_case two FOLDER`: an export while another one into the same folder stands still.
`python -m tests.export.delivery.fault_case limit FOLDER BYTES,BYTES`: exports whose files may not become larger.

An import of TensorFlow takes seconds, so all exports of a program are forked from one process that has imported it and
computed nothing; so are the processes that write their files.
"""

import hashlib
import json
import os
import pathlib
import random
import resource
import signal
import socket
import sys
import tempfile
import time
import zlib
from multiprocessing.connection import Connection

from segopt_callbacks.export.delivery.files import publish
from segopt_callbacks.export.delivery.workspace import workspace
from segopt_callbacks.processes import TensorFlowProcess, nursery, worker
from segopt_callbacks.processes import process as processes

FORMATS = ("saved_model", "float32", "int8")
FILES = {"old": {"a.tflite": "old", "model/pb": "old", "report.json": "old"}}
FILES["new"] = {"a.tflite": "new", "model/pb": "new", "model/more": "new", "report.json": "new"}
OURS = {"a.tflite", "model", "report.json"}


def tree(folder):
    """Everything below a folder: path -> digest of its content."""
    files = (path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def fill(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def forked(function, *arguments):
    """Calls a function in a fork of this process, which ends with it; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        function(*arguments)
        code = 0
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def ended(pid):
    """Waits for the end of a process: 0, the code of its failure, or minus the number of a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# --- published, and killed before each operation ---------------------------------------------------------------------


def publish_and_die(export_dir, moment):
    with workspace(export_dir) as folder:
        new = folder / "export"
        fill(new, FILES["new"])
        left = iter(range(moment))

        def hook(event, arguments):
            is_counted = event != "os.kill" and event.startswith(("os.", "open", "shutil.", "ctypes."))
            if is_counted and next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        publish(new, export_dir, OURS)


def moves(folder):
    """For each situation: what each kill left, in order, and what the next workspace in that place left of that."""
    situations = {"first": {}, "second": FILES["old"], "beside_others": FILES["old"] | {"notes": "mine"}}
    seen = {}
    for situation, before in situations.items():
        seen[situation] = []
        code = -signal.SIGKILL
        while code:
            place = pathlib.Path(folder, situation, str(len(seen[situation])))
            place.mkdir(parents=True)
            fill(place / "export", before)
            code = ended(forked(publish_and_die, place / "export", len(seen[situation])))
            killed = contents(place)
            with workspace(place / "export"):
                pass
            seen[situation].append({"code": code, "killed": killed, "swept": contents(place)})
    return seen


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


# --- real exports ----------------------------------------------------------------------------------------------------


class ForkedProcess(processes.Process):
    """The process that writes files, without another import of TensorFlow."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        self.pid = forked(worker.main, theirs.fileno())
        theirs.close()
        self._process = self
        self._connection = Connection(ours.detach())

    is_alive = True

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


def export(export_dir, name):
    from segopt_callbacks import export_model
    from segopt_callbacks.compat import keras
    from tests.export_models import IMAGES

    TensorFlowProcess._spare.append((nursery.settings(), ForkedProcess()))
    keras.utils.set_random_seed(zlib.crc32(name.encode()))  # forks would begin with equal weights
    layers = [keras.layers.Conv2D(4, 3, name=name), keras.layers.ReLU(), keras.layers.Conv2D(2, 1)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers], name=name)
    data = (IMAGES[:2, :8, :8] / 255).astype("float32"), IMAGES[:2, :6, :6, :2]
    # Every file tells the name, so that no two exports have one in common.
    export_model(model, export_dir, FORMATS, evaluation_data=data, metadata={"export": name}, latency=False, verbose=0)


def exported(export_dir, name):
    """Runs a whole export; returns its seconds, and what is there."""
    start = time.monotonic()
    assert ended(forked(export, export_dir, name)) == 0
    return time.monotonic() - start, tree(export_dir)


def debris(export_dir):
    """What exports have left beside the folder; other folders there are the test's."""
    return [entry.name for entry in export_dir.parent.iterdir() if entry.name.startswith(f".{export_dir.name}.")]


def kills(folder, number, seed):
    """Kills exports at random moments, spread over a little more than the time that one takes; lastly lets one end."""
    import_all()
    export_dir = pathlib.Path(folder, "exported")
    exported(export_dir, "old")
    seconds, old = exported(export_dir, "old")
    random.seed(int(seed))
    seen = []
    for index in range(int(number)):
        pid = forked(export, export_dir, f"new_{index}")
        moment = 1.1 * seconds * (index + random.random()) / int(number)
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        code = ended(pid)
        now = tree(export_dir)
        one = {"name": f"new_{index}", "at": moment / seconds, "code": code, "now": now, "old": old}
        report = json.loads((export_dir / "report.json").read_text())
        seen.append(one | {"debris": debris(export_dir), "report": report})
        old = now
    _, last = exported(export_dir, "last")
    # TensorFlow's own copies of Python functions go with the process that traces, unless it is killed; bytecode stays.
    of_autograph = ("__autograph_", "__pycache__")
    temporary = [name for name in os.listdir(tempfile.gettempdir()) if not name.startswith(of_autograph)]
    return {"kills": seen, "debris": debris(export_dir), "last": last, "temporary": temporary}


def two(folder):
    """An export is stopped in its middle; another one comes and goes; the first goes on."""
    import_all()
    export_dir = pathlib.Path(folder, "exported")
    exported(export_dir, "old")
    first = forked(export, export_dir, "first")
    while not debris(export_dir):
        time.sleep(0.01)
    os.kill(first, signal.SIGSTOP)
    stopped = debris(export_dir)
    exported(export_dir, "second")
    between = debris(export_dir), json.loads((export_dir / "report.json").read_text())
    os.kill(first, signal.SIGCONT)
    code = ended(first)
    return {
        "stopped": stopped,
        "between": between,
        "code": code,
        "debris": debris(export_dir),
        "report": json.loads((export_dir / "report.json").read_text()),
    }


def limited(export_dir, bytes_limit, told):
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_limit, bytes_limit))
    try:
        export(export_dir, "new")
    except Exception as error:
        os.write(told, f"{type(error).__name__}: {error}".encode())


def limit(folder, sizes):
    """For each limit: the error, and what was and is there."""
    import_all()
    seen = {}
    for size in map(int, sizes.split(",")):
        export_dir = pathlib.Path(folder, str(size), "exported")
        _, old = exported(export_dir, "old")
        reading, writing = os.pipe()
        code = ended(forked(limited, export_dir, size, writing))
        os.close(writing)
        error = os.fdopen(reading).read()
        seen[size] = {"error": error, "code": code, "old": old, "now": tree(export_dir), "debris": debris(export_dir)}
    return seen


def import_all():
    import segopt_callbacks.export.exporter  # noqa: F401
    import tests.export_models  # noqa: F401


def main(mode, *arguments):
    print(json.dumps({"moves": moves, "kills": kills, "two": two, "limit": limit}[mode](*arguments)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
