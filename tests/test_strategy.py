"""Strategies, each in a process of its own: many in one process make the later ones fail."""

import pathlib
import subprocess
import sys


def test_mirrored_replicas_keep_the_same_zeros_after_every_step():
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.strategy_case"],
        cwd=pathlib.Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.stdout.strip().endswith("steps 8 exact True clustered True"), result.stdout + result.stderr[-4000:]
