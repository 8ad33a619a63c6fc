"""What a user's type checker says of a script: nothing of a good one, and where a name is misspelled."""

import json
import os
import pathlib
import re
import subprocess
import sys
from typing import get_args

import pytest

from segopt_callbacks.export import Format
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.quantization.calibration import METHODS, Calibration

ROOT = pathlib.Path(__file__).parent.parent
pytestmark = pytest.mark.either_keras
GOOD = """
import keras
import numpy as np
import tensorflow as tf
import tf_keras

import segopt_callbacks as s
from segopt_callbacks.export import Report


class Net(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.head = keras.layers.Dense(2)

    def call(self, inputs):
        return self.head(inputs)


class Old(tf_keras.Model):
    pass


data = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")
model = Net()
pruning = s.PruningScheduleCallback(0.5, distribution="erk", criterion="saliency")
exporting = s.ExportQuantizedCallback("files", ["float32", "int8"], evaluation_data=data, calibration="mse")
model.fit(*data, callbacks=[pruning, s.ClusterOnTrainEndCallback(16), exporting])
report: Report = s.export_model(model, "files", ("onnx", "int4"), on_failure="warn")
size = report["formats"]["onnx"]["bytes"] / 1024
if "warnings" in report:
    print(report["warnings"][0].upper(), size)
s.export_model(Old(), "files", "float32")
s.export_model(keras.Sequential([keras.layers.Dense(2)]), "files")
s.export_model(tf.keras.Sequential([]), "files")
s.layer_sensitivity(model, data, treatments=["int8", "prune"]).losses("prune")
"""
MISSPELLED = """
import keras

import segopt_callbacks as s

model = keras.Sequential([])
s.PruningScheduleCallback(0.5, distribution="erkk")  # wrong
s.PruningScheduleCallback(0.5, scope="globl")  # wrong
s.PruningScheduleCallback(0.5, criterion="salience")  # wrong
s.PruningScheduleCallback(0.5, regrow="gradients")  # wrong
s.ExportQuantizedCallback("files", ["float32", "int9"])  # wrong
s.ExportQuantizedCallback("files", calibration="minmax")  # wrong
s.export_model(model, "files", on_failure="ignore")  # wrong
s.export_model(model, "files")["format"]  # wrong
s.export_model(model, "files")["model"]["parameter"]  # wrong
s.layer_sensitivity(model, None, treatments=["pruned"])  # wrong
s.export_model("model", "files")  # wrong for pyright, which reads Keras; to mypy it is untyped
"""
COMMANDS = {
    "mypy": ["mypy", "--config-file=", "--ignore-missing-imports", "--cache-dir=cache"],
    # Pyright, with node in its wheel: pyright's own package downloads it.
    "pyright": ["basedpyright", "--pythonpath", sys.executable],
}


@pytest.mark.parametrize("checker", COMMANDS)
def test_a_misspelling_is_found_and_nothing_else(checker, tmp_path):
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "misspelled.py").write_text(MISSPELLED)
    settings = {"typeCheckingMode": "standard", "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    result = subprocess.run(
        [sys.executable, "-m", *COMMANDS[checker], "good.py", "misspelled.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = re.findall(r"(\w+)\.py:(\d+)[\d:]*(?: -|:) error:? ", result.stdout)
    lines = MISSPELLED.splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if "# wrong" in line]
    expected = wrong if checker == "pyright" else wrong[:-1]
    assert found == [("misspelled", str(number)) for number in expected], result.stdout + result.stderr


def test_the_names_that_editors_complete_are_those_that_work():
    assert get_args(Format) == tuple(TARGETS)
    assert get_args(Calibration) == tuple(METHODS)
