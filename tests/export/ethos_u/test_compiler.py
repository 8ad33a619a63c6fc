"""Files that Vela has compiled: what runs on the NPU, what does not, and what the report says of them."""

import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import export_model, read_metadata
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import ExportError, FormatError
from segopt_callbacks.export.ethos_u import ACCELERATORS, compiler
from segopt_callbacks.export.litert import encoding, schema
from segopt_callbacks.export.report import weighed
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.tflm import interpreter
from segopt_callbacks.records import Port

BYTES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
ACCELERATOR = "ethos-u55-64"
PORTS = [(Port(name, (), "int8"),) for name in ("image", "logits")]


def convolutional(spread):
    """Bytes in, a table of them, three convolutions whose weights are `spread` and mostly 0."""
    image = keras.Input((32, 32, 3), name="image", dtype="uint8")
    hidden = keras.layers.Rescaling(1 / 255)(image)
    for filters in (16, 32, 64):
        hidden = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(hidden)
    model = keras.Model(image, keras.layers.Conv2D(3, 1, name="logits")(hidden))
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        if len(weight.shape) == 4:
            is_kept = random.uniform(size=weight.shape) < 0.2
            weight.assign(0.1 * is_kept * random.choice(spread, weight.shape))
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    report = export_model(
        convolutional([-2, -1, 1, 2]),
        folder,
        ["int8", "tflm_int8", "ethos_u"],
        evaluation_data=(BYTES, BYTES[..., 0]),
        accelerator=ACCELERATOR,
        latency=False,
        verbose=0,
    )
    return folder, report["formats"]


def test_everything_runs_on_the_npu_and_the_report_says_so(exported):
    folder, entries = exported
    model = schema.read(folder / "ethos_u.tflite")
    names = {schema.text(model.operatorCodes[one.opcodeIndex].customCode) for one in model.subgraphs[0].operators}
    assert names == {"ethos-u"}
    notes = entries["ethos_u"]["notes"]
    assert (notes["off the NPU"], notes["npu_share"], notes["accelerator"]) == ("nothing", 1.0, ACCELERATOR)
    assert "was not run, as that takes an Ethos-U" in notes["verified"]


def test_figures_are_those_that_vela_tells_of_the_very_file(exported, tmp_path):
    """Vela, called as a user calls it, on the dense int8 file with int8 inputs."""
    source = Source(tmp_path, *PORTS, accelerator=ACCELERATOR)
    (tmp_path / "int8.tflite").write_bytes((exported[0] / "tflm_int8.tflite").read_bytes())
    (tmp_path / "int8.json").write_text("{}")
    compiler.write(source, tmp_path / "again.tflite")
    command = ["-m", "ethosu.vela", "again.tflite.int8", f"--accelerator-config={ACCELERATOR}"]
    told = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True
    ).stdout
    notes = encoding.read_notes(tmp_path / "again.tflite", weighed(tmp_path / "again.tflite"))
    for key, pattern in (("flash_bytes", "Off-chip Flash used"), ("sram_bytes", "Total SRAM used")):
        assert notes[key] == pytest.approx(1024 * float(re.search(rf"{pattern} +([\d.]+) KiB", told)[1]), abs=8)
    assert notes["cycles"] > 0
    assert float(re.search(r"NPU operators = \d+ \(([\d.]+)%\)", told)[1]) == pytest.approx(
        100 * notes["npu_share"], abs=0.1
    )


def test_zeros_and_repeated_values_take_less_flash(exported, tmp_path):
    entry = export_model(
        convolutional(np.random.default_rng(2).normal(size=1000)),
        tmp_path,
        ["ethos_u"],
        evaluation_data=(BYTES, BYTES[..., 0]),
        accelerator=ACCELERATOR,
        latency=False,
        verbose=0,
    )["formats"]["ethos_u"]
    assert exported[1]["ethos_u"]["notes"]["flash_bytes"] < 0.6 * entry["notes"]["flash_bytes"]


def test_the_file_tells_its_inputs_and_outputs_by_name(exported):
    told = read_metadata(exported[0] / "ethos_u.tflite")
    assert [(one["name"], one["dtype"], one["offset"]) for one in told["inputs"]] == [("image", "int8", -128)]
    assert [one["name"] for one in told["outputs"]] == ["logits"]


def test_nothing_but_an_npu_runs_it(exported, tmp_path):
    """Why the report tells of the file before Vela: tflite-micro, on a PC, knows the operation by name alone."""
    with pytest.raises(FormatError, match="tflite-micro refuses the file"):
        interpreter.load(exported[0] / "ethos_u.tflite", Source(tmp_path, *PORTS), None)


def test_sparse_weights_cannot_run_on_the_npu(exported, tmp_path):
    """What the notes of a sparse file say of Vela."""
    assert "no convolution of sparse weights can run on an NPU" in exported[1]["int8"]["notes"]["refused by"]
    with pytest.raises(FormatError, match=r"Vela refuses the file: .*\(Conv2D\) could not run on NPU"):
        compiler._compile(exported[0] / "int8.tflite", ACCELERATOR, tmp_path)


def test_a_file_that_vela_cannot_read_is_refused(tmp_path):
    (tmp_path / "bad.tflite").write_bytes(b"nothing of a model")
    with pytest.raises(FormatError, match=r"Vela refuses the file: \w+"):
        compiler._compile(tmp_path / "bad.tflite", ACCELERATORS[0], tmp_path)


def test_an_unknown_accelerator_is_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match="`accelerator` must be one of ethos-u55-32.*'ethos-u99'"):
        export_model(None, tmp_path, ["ethos_u"], accelerator="ethos-u99", verbose=0)


@pytest.mark.parametrize("sparse", [True, "always", None])
def test_a_wrong_sparse_is_refused_before_any_work(tmp_path, sparse):
    with pytest.raises(ValueError, match="`sparse` must be 'auto' or False"):
        export_model(None, tmp_path, ["float32"], sparse=sparse, verbose=0)


class Rows(keras.layers.Layer):
    """`Embedding` without what Keras 3 does to numbers below 0."""

    def build(self, input_shape):
        self.rows = self.add_weight(name="rows", shape=(16, 4), initializer="random_normal")

    def call(self, inputs):
        return tf.gather(self.rows, inputs)


def test_a_model_that_no_npu_computes_is_refused(tmp_path):
    words = keras.Input((8,), name="words", dtype="int32")
    model = keras.Model(words, Rows(name="rows")(words))
    numbers = np.arange(16, dtype="int32").reshape(2, 8)
    with pytest.raises(ExportError, match="Vela leaves everything to the CPU: .*GATHER .*export 'tflm_int8' instead"):
        export_model(model, tmp_path, ["ethos_u"], evaluation_data=(numbers, numbers), latency=False, verbose=0)
