"""What the tests take for `subprocess` does as `subprocess` does."""

import os
import signal
import socket
import struct
import subprocess
import sys

import pytest

from tests import warm
from tests.warm import client

pytestmark = pytest.mark.either_keras
SHOWN = """
import json, os, pickle, sys, warnings
class Own: pass
pickle.loads(pickle.dumps(Own()))
keys = [key for key in os.environ if key not in ("TESTS_WARM_SERVER", "LC_CTYPE")]
project = [name for name in sys.modules if name.partition(".")[0] in ("segopt_callbacks", "tests", "train_unet")]
path = [os.path.realpath(one) for one in sys.path]
print(json.dumps([__name__, sys.argv, os.getcwd(), sorted(keys), project, path, input()]))
warnings.warn("nothing")
print("told", file=sys.stderr)
"""


@pytest.mark.parametrize("kind", ["code", "script", "module"])
def test_a_program_finds_what_it_would_find(kind, tmp_path):
    (tmp_path / "shown.py").write_text(SHOWN)
    (tmp_path / "said").write_text("good day\n")
    command = [sys.executable, "-W", "ignore"]
    command += {"code": ["-c", SHOWN], "script": ["shown.py"], "module": ["-m", "shown"]}[kind]
    environment = {**os.environ, "SOMETHING": "else", "PYTHONPATH": str(tmp_path / "first")}
    seen = []
    for run in (subprocess.run, warm.run):
        with (tmp_path / "said").open() as said:
            done = run(
                [*command, "--flag", "a b"], cwd=tmp_path, env=environment, stdin=said, capture_output=True, text=True
            )
        seen.append((done.returncode, done.stdout, done.stderr))
    assert seen[0] == seen[1]
    assert seen[0][0] == 0, seen[0][2]


@pytest.mark.skipif(not client.CAN_FORK, reason="no server")
@pytest.mark.parametrize("sent", [b"", b"half", struct.pack("q", 100) + b"half"])
def test_the_server_outlives_whoever_is_killed_while_asking(sent):
    assert warm.run([sys.executable, "-c", "pass"]).returncode == 0
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect("\0" + client._address())
        asking.sendall(sent)
    assert warm.run([sys.executable, "-c", "import sys; sys.exit(3)"]).returncode == 3


@pytest.mark.parametrize(
    "code",
    [
        "pass",
        "import sys; sys.exit(3)",
        "raise KeyError('x')",
        "raise KeyboardInterrupt",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import atexit; atexit.register(print, 'last')",
        "import threading, time; threading.Thread(target=lambda: time.sleep(0.3) or print('last')).start()",
    ],
)
def test_it_ends_as_it_would_end(code):
    ends = []
    for run in (subprocess.run, warm.run):
        done = run([sys.executable, "-c", code], capture_output=True, text=True)
        ends.append((done.returncode, done.stdout, done.stderr.splitlines()[-1:]))
    assert ends[0] == ends[1]


def test_it_computes_in_a_process_of_its_own_that_takes_signals():
    code = "import os, tensorflow as tf, time; print(os.getpid(), int(tf.constant(1) + 1), flush=True); time.sleep(600)"
    with warm.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as one:
        assert one.stdout.readline() == f"{one.pid} 2\n"
        assert one.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            one.communicate(timeout=0.1)
        one.send_signal(signal.SIGTERM)
        assert one.wait(60) == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_it_is_forked_from_one_thread_and_computed_nothing():
    code = (
        "import os, sys; print('tensorflow' in sys.modules, len(os.listdir('/proc/self/task')))\n"
        "from tensorflow.python.eager import context; print(context.context()._initialized)"
    )
    done = warm.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True 1\nFalse\n", done.stderr
