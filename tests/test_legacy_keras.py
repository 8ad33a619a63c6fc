"""The same tests once more with tf.keras = Keras 2, in processes of their own."""

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
# A process takes five seconds to begin: those of a few seconds share one.
QUICK = [
    name for name in MODULES if name.startswith("test_export_") or name in ("test_losses", "test_unet", "test_data")
]
GROUPS = [*([name] for name in MODULES if name not in QUICK), QUICK[0::2], QUICK[1::2]]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.environ.get("TF_USE_LEGACY_KERAS") == "1", reason="this run is the one with Keras 2")
@pytest.mark.parametrize("modules", GROUPS, ids=lambda modules: modules[0] + "_and_others" * (len(modules) > 1))
def test_under_keras_2(modules):
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}.py" for name in modules)],
        cwd=HERE.parent,
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout[-8000:]
