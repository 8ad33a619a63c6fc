"""Functions that run in other processes, and how those die."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from segopt_callbacks.errors import FormatError
from segopt_callbacks.processes import VISIBLE_GPUS, Process, TensorFlowProcess, forking, frames, nursery
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


def test_a_process_with_unanswered_calls_is_not_kept():
    with Process() as process:
        process.begin(export_targets.write_for_ever, None, None, doing="testing it")
        pid = process.number
    assert not is_running(pid)
    with TensorFlowProcess() as kept:
        begun_in = kept.begin(max, [1, 2], doing="testing it")
        assert not begun_in.is_idle
    assert not begun_in.is_alive
    with TensorFlowProcess() as other:
        assert other.call(max, [1, 2], **LIMIT) == 2
        assert other.number != begun_in.number


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


# --- the warm process ------------------------------------------------------------------------------------------------

forks = pytest.mark.skipif(not nursery.can_fork(), reason="nothing is forked here")


@pytest.fixture
def cold():
    """Nothing is kept of other tests, and nothing for them."""
    TensorFlowProcess.close_spare()
    yield
    TensorFlowProcess.close_spare()


def ends(pid):
    deadline = time.monotonic() + 60
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


@forks
def test_what_is_forked_has_imported_tensorflow_and_started_nothing(cold):
    with TensorFlowProcess.stock.new() as process, TensorFlowProcess.stock.new() as other:
        assert process.call(eval, "'tensorflow' in __import__('sys').modules", **LIMIT) is True
        assert process.call(eval, "__import__('sys').modules.get('keras', 'not yet')", **LIMIT) == "not yet"
        assert process.call(eval, "__import__('keras').__name__", **LIMIT) == "keras"
        # Threads are fewer than TensorFlow starts when it computes: Python's, and those of NumPy's library.
        assert process.call(export_targets.threads_called, "tf_", **LIMIT) == 0
        assert process.number != other.number
        assert process.call(export_targets.parent, **LIMIT) == TensorFlowProcess.stock.nursery.number


@forks
def test_it_is_nicer_while_training_and_what_is_forked_is_not(cold):
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    warm = TensorFlowProcess.stock.warm(is_unhurried=True)
    deadline, seen = time.monotonic() + 60, set()
    while len(seen) < 2 and time.monotonic() < deadline:
        seen = set(export_targets.niceness(warm.number))
    assert seen == {mine, mine + forking._NICER}
    with TensorFlowProcess.stock.new() as process:
        assert set(process.call(export_targets.niceness, "self", **LIMIT)) == {mine}


@forks
@pytest.mark.parametrize("killed", ["before", "after"])
def test_a_warm_process_that_is_killed_is_replaced(cold, killed):
    pid = TensorFlowProcess.stock.warm(is_unhurried=True).number
    if killed == "after":
        with TensorFlowProcess.stock.new() as process:
            process.call(export_targets.my_process, **LIMIT)
    os.kill(pid, signal.SIGKILL)
    with TensorFlowProcess() as process:
        assert process.call(max, [1, 2], **LIMIT) == 2
    assert TensorFlowProcess.stock.nursery.number != pid


@forks
def test_the_death_of_the_warm_process_is_that_of_its_forks_and_is_told(cold):
    process = TensorFlowProcess.stock.new()
    number = process.call(export_targets.my_process, **LIMIT)
    os.kill(TensorFlowProcess.stock.nursery.number, signal.SIGKILL)
    assert ends(number)
    with pytest.raises(FormatError, match="killed by SIGKILL while testing it"):
        process.call(max, [1, 2], **LIMIT)
    assert not process.is_alive
    process.close()


@forks
def test_a_crash_at_once_is_told_as_of_any_process(cold):
    with (
        TensorFlowProcess.stock.new() as process,
        pytest.raises(FormatError, match="exit code 3 while testing it.*to end"),
    ):
        process.call(export_targets.end, 3, **LIMIT)
    with TensorFlowProcess.stock.new() as process:
        number = process.call(export_targets.my_process, **LIMIT)
        with pytest.raises(FormatError, match="took longer than 0.2 seconds"):
            process.call(export_targets.write_for_ever, None, None, doing="it", time_limit=0.2)
        assert not is_running(number)


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "sys.path"])
def test_what_was_started_with_other_settings_is_not_used(cold, name, monkeypatch, tmp_path):
    with TensorFlowProcess() as process:
        before = process.call(export_targets.my_process, **LIMIT)
    if name == "sys.path":
        monkeypatch.syspath_prepend(tmp_path)
    else:
        monkeypatch.setenv(name, "3")
    with TensorFlowProcess() as process:
        assert process.call(export_targets.my_process, **LIMIT) != before
        assert process.call(os.getenv, "CUDA_VISIBLE_DEVICES", **LIMIT) == "-1"
        if name == "CUDA_VISIBLE_DEVICES":
            assert process.call(os.getenv, VISIBLE_GPUS, **LIMIT) == "3"
        if name == "sys.path":
            assert process.call(eval, "__import__('sys').path", **LIMIT)[0] == str(tmp_path)
    assert not is_running(before)


def test_settings_are_all_variables_but_those_that_no_library_computes_by(monkeypatch):
    before = nursery.settings()
    monkeypatch.setenv("PWD", "/elsewhere")
    assert nursery.settings() == before
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert nursery.settings() != before


@forks
@pytest.mark.parametrize("left", ["returned", "raised"])
def test_what_was_warmed_for_nothing_is_closed(cold, left):
    def fit():
        TensorFlowProcess.stock.warm_during("fit")
        numbers.append(TensorFlowProcess.stock.nursery.number)
        assert is_running(numbers[0])
        if left == "raised":
            raise KeyboardInterrupt

    numbers = []
    with contextlib.suppress(KeyboardInterrupt):
        fit()
    assert ends(numbers[0])


@forks
def test_what_was_warmed_and_used_stays(cold):
    def fit():
        TensorFlowProcess.stock.warm_during("fit")
        with TensorFlowProcess() as process:
            process.call(max, [1, 2], **LIMIT)

    fit()
    warm = TensorFlowProcess.stock.nursery
    time.sleep(3 * frames._INTERVAL)
    assert TensorFlowProcess.stock.nursery is warm
    assert is_running(warm.number)


def test_a_fork_of_this_process_starts_its_own(cold):
    """As `multiprocessing` makes them; the socket of what is kept would answer both."""
    with TensorFlowProcess() as process:
        kept = process.call(export_targets.my_process, **LIMIT)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        with TensorFlowProcess() as process:
            os.write(writing, str(process.call(export_targets.my_process, **LIMIT)).encode())
        TensorFlowProcess.close_spare()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert int(answer.read()) != kept
    os.waitpid(pid, 0)
    with TensorFlowProcess() as process:
        assert process.call(export_targets.my_process, **LIMIT) == kept


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
