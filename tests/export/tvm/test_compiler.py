"""Every TVM library, opened and run here by TVM itself, as its README says."""

import json
import re
import shutil
import struct
import subprocess
import sys

import numpy as np
import onnx
import pytest
import tensorflow as tf
import tvm
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from segopt_callbacks import compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.tvm import compiler as tvm_export
from segopt_callbacks.export.tvm import library as tvm_library
from segopt_callbacks.export.tvm.schedule import schedule
from segopt_callbacks.model.weights import select_weights
from segopt_callbacks.processes.process import Process
from segopt_callbacks.records.ports import Port
from tests import export_models
from tests.export.test_structures import LEFT, RIGHT, by_name, by_place
from tests.export_models import DATA, IMAGES, LABELS, answers, built, functional
from tests.export_zoo import attention, zoo


def opened(library):
    return tvm.relax.VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())


def run(library, images):
    main = opened(library)["main"]
    return np.concatenate([main(tvm.runtime.tensor(images[i : i + 1])).numpy() for i in range(len(images))])


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """A model with 80% zeros and 16 distinct values in each kernel, exported."""
    folder = tmp_path_factory.mktemp("export")
    model = export_models.compressed()
    report = export_model(model, folder, ["tvm", "float32"], evaluation_data=DATA, verbose=0, remove_channels=False)
    return folder / "tvm", report["formats"], model


def test_it_takes_raw_uint8_images_and_agrees(compressed):
    folder, entries, model = compressed
    expected = answers(model)
    difference = np.abs(run(folder / "model.so", IMAGES) - expected)
    assert difference.max() <= 1e-5 * np.abs(expected).max()
    assert entries["tvm"]["largest_difference"] == pytest.approx(difference.max(), rel=0.5, abs=1e-6)


@pytest.mark.either_keras
def test_the_read_me_runs_and_names_what_goes_in_and_out(compressed):
    folder, _, model = compressed
    text = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code += "print(answers.numpy().tolist())"
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(result.stdout), answers(model, 0 * IMAGES[:1]), atol=1e-5)
    assert "- input `input`: uint8 (1, 16, 16, 3)" in text
    assert "- output `output`: float32 (1, 16, 16, 3)" in text
    assert len(code.splitlines()) <= 6


@pytest.mark.either_keras
def test_the_library_itself_names_its_input(compressed):
    machine = opened(compressed[0] / "model.so")
    assert machine._get_function_arity("main") == 1
    assert machine._get_function_param_name("main", 0) == "input"


def test_zeros_and_distinct_values_survive_as_in_the_float32_file(compressed):
    _, entries, model = compressed
    rows = {name: {row["weight"]: row for row in entries[name]["weights"]} for name in ("tvm", "float32")}
    zeros = {path: int((compat.read(weight) == 0).sum()) for path, weight in select_weights(model).items()}
    assert set(rows["tvm"]) == set(rows["float32"]) == set(zeros)
    for path, count in zeros.items():
        assert rows["tvm"][path]["zeros"] == count
        assert rows["tvm"][path]["max_distinct_per_channel"] <= 16


def pool(library):
    """Shapes of the constants, as TVM lists them."""
    statistics = tvm.runtime.load_module(str(library))["stats"]()
    (listed,) = re.findall(r"Constant pool \(# \d+\): \[(.*)\]", statistics)
    return [tuple(map(int, re.findall(r"\d+", one))) for one in re.findall(r", \[([\d, ]*)\]", f", {listed}")]


@pytest.mark.either_keras
def test_every_constant_of_the_library_is_read(compressed):
    library = compressed[0] / "model.so"
    found = [one.shape for one in tvm_library.constants(library.read_bytes())]
    assert found == pool(library)
    assert len(found) >= 4


def test_what_is_read_is_what_it_computes_with(compressed, tmp_path):
    """The head's kernel is doubled in the file; its bias is zero, so the answers double."""
    folder, entries, model = compressed
    content = (folder / "model.so").read_bytes()
    (row,) = (row for row in entries["tvm"]["weights"] if "head" in row["weight"])
    head = list(tvm_library.constants(content))[int(row["name"].removeprefix("constant_"))]
    assert content.count(head.tobytes()) == 1
    (tmp_path / "model.so").write_bytes(content.replace(head.tobytes(), (2 * head).tobytes()))
    bias = next(compat.read(one) for one in model.weights if "head/bias" in compat.variable_path(one))
    expected = 2 * (answers(model, IMAGES) - bias) + bias
    np.testing.assert_allclose(run(tmp_path / "model.so", IMAGES), expected, atol=1e-4)


# --- models ----------------------------------------------------------------------------------------------------------


def test_a_functional_model_of_floats_agrees(tmp_path):
    images = np.random.default_rng(0).normal(size=(10, 16, 16, 3)).astype("float32")
    model = built(functional, images)
    export_model(model, tmp_path, ["tvm"], evaluation_data=(images, LABELS), verbose=0)
    np.testing.assert_allclose(run(tmp_path / "tvm/model.so", images), answers(model, images), atol=1e-4)


def test_every_kind_of_kernel_is_found(tmp_path):
    images = np.random.default_rng(0).normal(size=(6, 16, 16, 3)).astype("float32")
    model = built(zoo, images)
    report = export_model(model, tmp_path, ["tvm"], evaluation_data=(images, images), verbose=0)
    rows = report["formats"]["tvm"]["weights"]
    kernels = {compat.variable_path(one): compat.read(one) for one in model.weights if len(one.shape) >= 2}
    assert {row["weight"] for row in rows} == set(kernels)
    for row in rows:
        assert row["elements"] == kernels[row["weight"]].size
    np.testing.assert_allclose(run(tmp_path / "tvm/model.so", images), answers(model, images), atol=1e-5)


def test_attention_whose_shapes_tvm_does_not_compute_itself(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 4, 6)).astype("float32")
    model = built(attention, x)
    report = export_model(model, tmp_path, ["tvm"], evaluation_data=(x, x), verbose=0)
    kernels = {compat.variable_path(one) for one in model.weights if "kernel" in compat.variable_path(one)}
    assert {row["weight"] for row in report["formats"]["tvm"]["weights"]} == kernels
    np.testing.assert_allclose(run(tmp_path / "tvm/model.so", x), answers(model, x), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "x"), [(by_name, {"left": LEFT, "right": RIGHT}), (by_place, (LEFT, RIGHT))], ids=["by_name", "by_place"]
)
def test_inputs_and_outputs_do_not_change_places(make, x, tmp_path):
    model = make()
    data = tf.data.Dataset.from_tensor_slices((x, np.zeros((9, 1)))).batch(4)
    export_model(model, tmp_path, ["tvm"], evaluation_data=data, verbose=0)
    signature = json.loads((tmp_path / "tvm/signature.json").read_text())
    named = {"left": LEFT, "right": RIGHT, "b_left": LEFT, "a_right": RIGHT}
    arguments = [tvm.runtime.tensor(named[port["name"]][:1]) for port in signature["inputs"]]
    found = opened(tmp_path / "tvm/model.so")["main"](*arguments)
    expected = model(x)
    expected = expected if isinstance(expected, dict) else {f"output_{i}": one for i, one in enumerate(expected)}
    assert {port["name"] for port in signature["outputs"]} == set(expected)
    for port, one in zip(signature["outputs"], found, strict=True):
        np.testing.assert_allclose(one.numpy(), expected[port["name"]][:1], atol=1e-5)


def test_a_mixed_precision_model_is_compiled_in_float32_and_stays_mixed(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = built()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    report = export_model(model, tmp_path, ["tvm"], evaluation_data=DATA, on_failure="warn", verbose=0)
    assert str(model.compute_dtype) == "float16"
    assert {row["dtype"] for row in report["formats"]["tvm"]["weights"]} == {"float32"}
    expected = answers(model)
    assert np.abs(run(tmp_path / "tvm/model.so", IMAGES) - expected).max() <= 0.02 * np.abs(expected).max()


def convolution(channels):
    """A module of one convolution, as the exporter hands it to the schedule, and its inputs."""
    builder = tvm.relax.BlockBuilder()
    shapes = (1, 6, 9, 20), (channels, 6, 3, 3)
    x, kernel = (
        tvm.relax.Var(name, tvm.relax.TensorType(shape, "float32")) for name, shape in zip("xk", shapes, strict=True)
    )
    with builder.function("main", [x, kernel]):
        builder.emit_func_output(builder.emit(tvm.relax.op.nn.relu(tvm.relax.op.nn.conv2d(x, kernel, padding=1))))
    random = np.random.default_rng(0)
    values = [tvm.runtime.tensor(random.normal(size=shape).astype("float32")) for shape in shapes]
    return tvm.relax.get_pipeline("zero")(builder.get()), values


@pytest.mark.either_keras
@pytest.mark.parametrize("channels", [8, 7])
def test_a_convolution_runs_in_tiles_vectors_and_threads(channels):
    plain, values = convolution(channels)
    scheduled = schedule(convolution(channels)[0])
    target = tvm.target.Target("llvm")
    results = [
        tvm.relax.VirtualMachine(tvm.compile(module, target), tvm.cpu())["main"](*values).numpy()
        for module in (plain, scheduled)
    ]
    np.testing.assert_allclose(*results, atol=1e-5)
    (function,) = (one for name, one in scheduled.functions_items() if name.name_hint.startswith("conv2d"))
    for word in ("T.parallel", "T.vectorized", "T.unroll", 'scope="local"'):
        assert word in function.script()


@pytest.mark.either_keras
def test_what_tvm_cannot_reorder_stays_as_it_is(monkeypatch):
    def refuse(loops, block):
        raise tvm.s_tir.ScheduleError("no")

    monkeypatch.setattr("segopt_callbacks.export.tvm.schedule._schedule_block", refuse)
    module, _ = convolution(8)
    before = module.script()
    assert schedule(module).script() == before


# --- what goes wrong -------------------------------------------------------------------------------------------------

NOTHING = Source(None, (Port("input", (1, 4), "float32"),), (Port("output", (1, 4), "float32"),))
LIMIT = {"doing": "testing it", "time_limit": 60.0}


@pytest.mark.either_keras
def test_without_a_compiler_it_says_what_is_missing(tmp_path):
    with Process(PATH="", CC="", CXX="") as process, pytest.raises(FormatError, match="no C compiler is found.*set CC"):
        process.call(tvm_export.write, NOTHING, tmp_path / "tvm", **LIMIT)


@pytest.mark.either_keras
def test_a_compiler_that_fails_is_told(tmp_path, monkeypatch):
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 4)) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "relu", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "relu.onnx")
    monkeypatch.setattr(tvm_export.onnx, "onnx_source", lambda source: tmp_path / "relu.onnx")
    monkeypatch.setenv("CC", "false")  # a program that does nothing but fail
    with pytest.raises(FormatError, match="^the C compiler cannot link the library: "):
        tvm_export.write(NOTHING, tmp_path / "tvm")


@pytest.mark.either_keras
def test_a_folder_that_is_no_library_is_not_loaded(compressed, tmp_path):
    shutil.copytree(compressed[0], tmp_path / "tvm")
    (tmp_path / "tvm/model.so").write_bytes(b"no library")
    with Process() as process, pytest.raises(FormatError, match="TVM cannot load the library"):
        process.call(tvm_export.load, tmp_path / "tvm", NOTHING, None, **LIMIT)


@pytest.mark.either_keras
def test_a_library_without_constants_is_refused(tmp_path):
    (tmp_path / "model.so").write_bytes(bytes(10_000))
    with pytest.raises(FormatError, match="no constants are found in the library"):
        tvm_library.read_weights(tmp_path, {})


@pytest.mark.either_keras
@given(st.binary(max_size=100), st.integers(0, 60), st.binary(max_size=100))
def test_bytes_that_are_no_tensor_are_passed_over(before, length, after):
    """Whatever stands behind the number that marks a tensor."""
    content = before + (tvm_library.MAGIC + bytes(8))[:length] + after
    for one in tvm_library.constants(content):
        assert one.nbytes <= len(content)


@pytest.mark.either_keras
def test_a_tensor_is_read_wherever_it_stands():
    values = np.arange(6, dtype="float32").reshape(2, 3)
    header = tvm_library.MAGIC + struct.pack("<QiiiBBHqqq", 0, 1, 0, 2, 2, 32, 1, 2, 3, 24)
    broken = tvm_library.MAGIC + struct.pack("<QiiiBBHqqq", 0, 1, 0, 2, 2, 32, 1, 2, 3, 25)
    content = b"before" + broken + header + values.tobytes() + header + values.tobytes()[:-1]
    (found,) = tvm_library.constants(content)
    np.testing.assert_array_equal(found, values)
