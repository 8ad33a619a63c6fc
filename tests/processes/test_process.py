"""Functions that run in other processes, and how those die."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from segopt_callbacks.errors import FormatError
from segopt_callbacks.processes.process import Process, TensorFlowProcess
from tests.export import export_targets

pytestmark = pytest.mark.either_keras
LIMIT = {"doing": "testing it", "time_limit": 60.0}


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return pathlib.Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"


def test_arrays_travel_both_ways_and_it_is_another_process():
    array = np.arange(1_000_000).reshape(1000, 1000)
    with Process() as process:
        pid = process.call(export_targets.my_process, **LIMIT)
        assert pid != os.getpid()
        np.testing.assert_array_equal(process.call(np.transpose, array, **LIMIT), array.T)
        assert process.call(export_targets.my_process, **LIMIT) == pid
    assert not is_running(pid)


def test_it_starts_without_tensorflow():
    with Process() as process:
        assert process.call(eval, "'tensorflow' in __import__('sys').modules", **LIMIT) is False


def test_what_raises_is_named_and_the_process_goes_on():
    with Process() as process:
        with pytest.raises(FormatError, match=r"testing it raised KeyError: 'no such operation'") as caught:
            process.call(export_targets.write_nothing_and_raise, None, None, **LIMIT)
        assert "export/export_targets.py" in str(caught.value.__cause__)
        assert process.call(max, [1, 2], **LIMIT) == 2


def test_a_crash_is_named_with_what_was_printed_last():
    with Process() as process, pytest.raises(FormatError, match="exit code 3 while testing it.*last: about to end"):
        process.call(export_targets.end, 3, **LIMIT)


def test_a_signal_is_named_and_the_next_call_finds_another_process(tmp_path):
    with TensorFlowProcess() as process:
        before = process.call(export_targets.my_process, **LIMIT)
        with pytest.raises(FormatError, match="killed by SIGSEGV while testing it"):
            process.call(export_targets.write_and_die, None, tmp_path / "file", **LIMIT)
        assert process.call(export_targets.my_process, **LIMIT) != before


def test_what_takes_too_long_is_ended():
    with Process() as process:
        pid = process.call(export_targets.my_process, **LIMIT)
        with pytest.raises(FormatError, match=r"writing it took longer than 0.2 seconds; raise `time_limit`"):
            process.call(export_targets.write_for_ever, None, None, doing="writing it", time_limit=0.2)
        assert not process.is_alive
    assert not is_running(pid)


def test_functions_of_a_script_are_refused_in_words():
    with Process() as process:
        with pytest.raises(FormatError, match="must be importable in another process"):
            process.call(lambda: 1, **LIMIT)
        assert process.call(max, [1, 2], **LIMIT) == 2


def test_the_next_export_finds_the_process_of_the_last_one():
    pids = []
    for _ in range(2):
        with TensorFlowProcess() as process:
            pids.append(process.call(export_targets.my_process, **LIMIT))
    assert pids[0] == pids[1]
    TensorFlowProcess.close_spare()
    assert not is_running(pids[0])


PARENT = """
import sys, time
from segopt_callbacks.processes import Process
from tests.export import export_targets
process = Process()
print(process.call(export_targets.my_process, doing="asking", time_limit=60), flush=True)
process.call(export_targets.write_for_ever, None, None, doing="sleeping", time_limit=1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_process_does_not_outlive_the_one_that_is_killed():
    root = pathlib.Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=root)
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


HOSTILE = """
import os
print("run from the current folder")
open(os.path.join(os.path.dirname(__file__), "was_run"), "w").close()
os._exit(9)
"""


@pytest.fixture
def hostile_folder(tmp_path, monkeypatch):
    """The current folder, which has modules by the names of others; a look at it says which were run."""
    folder = tmp_path / "current"
    folder.mkdir()
    for name in ("queue", "numpy", "socket", "sitecustomize", "segopt_callbacks"):
        (folder / f"{name}.py").write_text(HOSTILE)
    monkeypatch.chdir(folder)
    yield folder
    assert not (folder / "was_run").exists()


@pytest.mark.parametrize("entry", [None, ""], ids=["a program", "an interactive session"])
def test_nothing_is_imported_from_the_current_folder(hostile_folder, monkeypatch, entry):
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}{os.environ.get('PYTHONPATH', '')}")  # an empty entry means it
    if entry is not None:
        monkeypatch.setattr(sys, "path", [entry, *sys.path])
    code = "__import__('sys').path, __import__('queue').__file__, __import__('numpy').__file__"
    with Process() as process:
        path, *files = process.call(eval, code, **LIMIT)
        assert process.call(subprocess.check_output, [sys.executable, "-m", "this"], **LIMIT)
    assert not any(str(hostile_folder) in one for one in [*path, *files])
    assert "" not in path


def test_it_imports_from_where_this_process_does(tmp_path, monkeypatch):
    (tmp_path / "of_this_path_alone.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    import of_this_path_alone

    with Process() as process:
        assert process.call(of_this_path_alone.answer, **LIMIT) == 42
        assert process.call(eval, "__import__('sys').path", **LIMIT)[0] == str(tmp_path)
