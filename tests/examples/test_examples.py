"""Every script of examples/ runs as it stands, and its files hold what it asks for: read by LiteRT's interpreter."""

import importlib.util
import json
import pathlib
import re
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from segopt_callbacks import compat
from tests import warm
from tests.export.latency_targets import UNTIMED
from tests.zoo import reading

FOLDER = pathlib.Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
LONGEST = 80  # lines
# Weights of other beginnings may end where a small kernel's scales cannot be shared, and its integers are more.
SEEDED = "from segopt_callbacks.compat import keras\nkeras.utils.set_random_seed(7)\n"


@dataclass(frozen=True)
class Promise:
    """What a script's int8 file must hold.

    Attributes:
        zeros: at least this fraction of all kernels.
        distinct: at most so many values in the kernel that has most of them; where the script shares none: 256.
        package: that is not among the tests' own.
        keras: the only one that has such a model.
    """

    zeros: float
    distinct: int = 256
    package: str | None = None
    keras: int | None = None


PROMISES = {
    "audio_spectrogram": Promise(0.7, 16),
    "classifier_two_fits": Promise(0.7, 16),
    "custom_train_step": Promise(0.45),
    "functional_unet": Promise(0.8, 16),
    "huggingface_distilbert": Promise(0.7, 16, "transformers", 2),
    "kerashub_deeplab": Promise(0.8, 16, "keras_hub", 3),
    "kerashub_segformer": Promise(0.7, 16, "keras_hub", 3),
    "own_loop": Promise(0.75, 16),
    "several_inputs_outputs": Promise(0.7, 16),
}


@pytest.fixture(scope="module")
def keras():
    return 2 if compat.is_keras_2(compat.keras.layers.ReLU()) else 3


def of_which_keras(script):
    """Those that are of any Keras run once; the callbacks are tested under both."""
    marks = [pytest.mark.either_keras] if PROMISES[script.stem].keras is None else []
    return pytest.param(script, id=script.stem, marks=marks)


@pytest.mark.parametrize("script", [of_which_keras(script) for script in SCRIPTS])
def test_it_runs_and_its_files_hold_what_it_asked_for(script, keras, tmp_path):
    promise = PROMISES[script.stem]
    if promise.keras not in (None, keras):
        pytest.skip(f"such models are of Keras {promise.keras}")
    if promise.package and not importlib.util.find_spec(promise.package):
        pytest.skip(f"`{promise.package}` is of the extra [zoo], which is not installed")
    program = f"{UNTIMED}{SEEDED}import runpy\nrunpy.run_path({str(script)!r}, run_name='__main__')"
    command = [sys.executable, "-W", "ignore", "-c", program]
    ended = warm.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-4000:]
    (folder,) = (tmp_path / "exported").iterdir()
    formats = json.loads((folder / "report.json").read_text())["formats"]
    assert {entry["status"] for entry in formats.values()} == {"ok"}
    assert all(re.search(rf"^{name} +.*\d", ended.stdout, re.MULTILINE) for name in formats)  # the table is printed
    for name in ("float32", "int8"):
        kernels, floats = reading.opened(folder / formats[name]["file"])
        removed = formats[name].get("removed", 0)  # with dead channels
        zeros = removed + sum(np.count_nonzero(one == 0) for one in kernels)
        zeros /= removed + sum(one.size for one in kernels)
        assert zeros >= promise.zeros - 0.001, name
        if promise.distinct < 256:
            assert max(len(np.unique(one)) for one in kernels) <= promise.distinct, name
    named = {one.split(" ")[0] for one in formats["int8"].get("float_operations", ())}
    assert set(floats) <= named  # no operation computes in float that the report does not name


@pytest.mark.either_keras
def test_each_is_short_and_on_the_page():
    page = (FOLDER / "README.md").read_text()
    assert re.findall(r"^\| \[`(\w+)\.py`\]", page, re.MULTILINE) == [script.stem for script in SCRIPTS]
    assert {script.stem: len(script.read_text().splitlines()) for script in SCRIPTS if too_long(script)} == {}
    assert set(PROMISES) == {script.stem for script in SCRIPTS}


def too_long(script):
    return len(script.read_text().splitlines()) > LONGEST
