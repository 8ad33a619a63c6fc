"""The same tests once more with tf.keras = Keras 2, each module in a process of its own."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
# Neither Keras is in these.
SAME_FOR_BOTH = {
    "test_legacy_keras",
    "test_centroids",
    "test_masks",
    "test_patterns",
    "test_sizes",
    "test_wheel",
    "test_docs",
    "test_flags",
}
MODULES = sorted(path.stem for path in HERE.glob("test_*.py") if path.stem not in SAME_FOR_BOTH)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.environ.get("TF_USE_LEGACY_KERAS") == "1", reason="this run is the one with Keras 2")
@pytest.mark.parametrize("module", MODULES)
def test_under_keras_2(module):
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{module}.py"],
        cwd=HERE.parent,
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout[-8000:]
