"""Strategies, each in a process of its own: many in one process make the later ones fail."""

import pathlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_mirrored_replicas(policy, outcome):
    """The same zeros on every replica after every step."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.mirrored_case", policy],
        cwd=pathlib.Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.stdout.strip().endswith("clustered True"), result.stdout + result.stderr[-4000:]
    outcome(result.stdout.strip().splitlines()[-1].partition(", clustered")[0] + ", on each replica")
