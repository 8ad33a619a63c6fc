"""Several processes on one study, of which one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests import warm

PROGRAM = Path(__file__).with_name("one_process.py")
ROOT = PROGRAM.parents[2]


def begin(folder, *options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    command = [sys.executable, str(PROGRAM), str(folder), *options]
    return warm.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


def listed(folder):
    path = folder / "study.json"
    return json.loads(path.read_text())["trials"] if path.exists() else []


def wait_for(holds, process):
    for _ in range(1000):
        if holds():
            return
        assert process.poll() is None
        time.sleep(0.1)
    raise AssertionError("it never came")


def test_two_processes_share_a_study_and_one_takes_up_the_trial_at_which_the_other_is_killed(tmp_path):
    with begin(tmp_path, "hangs") as killed:
        wait_for((tmp_path / "hangs").exists, killed)
        with begin(tmp_path) as other:
            wait_for(lambda: any(one["state"] == "ok" for one in listed(tmp_path)), other)
            left = listed(tmp_path)[0]
            assert left["state"] == "running", "they work side by side"
            os.kill(killed.pid, signal.SIGKILL)
            printed, _ = other.communicate(timeout=300)
    assert "meets min_metric=0.5 on two seeds" in printed.splitlines()[-1]
    trials = listed(tmp_path)
    again = [one for one in trials if one["settings"] == left["settings"] and one["kind"] == "search"]
    assert [one["state"] for one in again] == ["lost", "ok"]
    assert sum(one["kind"] == "search" and one["state"] in ("ok", "stopped") for one in trials) == 2
    assert sum(one["confirmed"] for one in trials) == 1
