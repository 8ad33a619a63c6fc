"""Every OpenVINO folder, opened and run here by OpenVINO itself, not by the library's own reader."""

import dataclasses
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export import ExportError
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.openvino import audit as openvino_audit
from segopt_callbacks.export.openvino import converter as openvino_export
from segopt_callbacks.export.openvino import resize as openvino_resize
from segopt_callbacks.export.source import ONE, Source
from segopt_callbacks.model import signature
from segopt_callbacks.model.weights import select_weights
from segopt_callbacks.processes import worker
from segopt_callbacks.processes.process import Process
from tests import export_models
from tests.export import export_targets
from tests.export.test_structures import LEFT, RIGHT, by_name, by_place
from tests.export_models import CLASSES, DATA, IMAGES, LABELS, answers, built, functional
from tests.export_zoo import attention, zoo
from train_unet.unet import UNet

openvino = openvino_export.without_telemetry()
FORMATS = ["openvino_int8"]
TOLERANCE = 0.1  # largest difference of a logit, as a fraction of the largest logit


def opened(folder):
    core = openvino.Core()
    return core.compile_model(str(folder / "openvino_int8/model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def run(folder, *inputs):
    """The answers to each example, by the names of outputs."""
    model = opened(folder)
    results = [model([value[i : i + 1] for value in inputs]) for i in range(len(inputs[0]))]
    return {output.any_name: np.concatenate([result[output] for result in results]) for output in model.outputs}


def stored(folder):
    """Name of an operator -> the int8 constant and the scales that it multiplies by, as OpenVINO reads them."""
    found = {}
    for node in openvino.Core().read_model(str(folder / "openvino_int8/model.xml")).get_ops():
        if node.get_type_name() not in ("Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul"):
            continue
        step, scales = node.input_value(1).get_node(), None
        while step.get_type_name() != "Constant":
            if step.get_type_name() == "Multiply":
                scales = step.input_value(1).get_node().data
            step = step.input_value(0).get_node()
        found[node.get_friendly_name()] = step.data, scales
    return found


def integer_layers(folder):
    """Kinds of what the runtime really computes in integers, and of what multiplies by weights in float."""
    integers, floats = [], []
    for node in opened(folder).get_runtime_model().get_ops():
        information = node.get_rt_info()
        kind = information["layerType"].astype(str)
        if kind in ("Convolution", "Deconvolution", "FullyConnected", "MatMul"):
            precision = information["runtimePrecision"].astype(str)
            (integers if precision in ("i8", "u8") else floats).append(kind)
    return integers, floats


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """A model with 80% zeros and 16 distinct values in each kernel, exported."""
    folder = tmp_path_factory.mktemp("export")
    model = export_models.compressed()
    zeros = {path: int((compat.read(weight) == 0).sum()) for path, weight in select_weights(model).items()}
    report = export_model(model, folder, FORMATS, evaluation_data=DATA, verbose=0, remove_channels=False)
    return folder, report["formats"]["openvino_int8"], zeros, answers(model)


def test_it_takes_raw_uint8_images_and_agrees(compressed):
    folder, entry, _, expected = compressed
    model = opened(folder)
    assert [(port.names, port.element_type.to_string(), list(port.shape)) for port in model.inputs] == [
        ({"input"}, "u8", [1, 16, 16, 3])
    ]
    assert [port.names for port in model.outputs] == [{"output"}]
    (outputs,) = run(folder, IMAGES).values()
    difference = np.abs(outputs - expected)
    assert difference.max() <= TOLERANCE * np.abs(expected).max()
    assert entry["largest_difference"] == pytest.approx(difference.max(), rel=1e-3)
    assert entry["equal_argmax"] == (outputs.argmax(-1) == expected.argmax(-1)).mean()


def test_pixels_that_are_looked_up_in_a_table_are_integers(tmp_path):
    """The U-Net standardizes raw images so, and the quantizer stores the table as int8."""
    model = UNet(CLASSES, 8, levels=2)
    model(IMAGES[:1])
    report = export_model(model, tmp_path, ["openvino_int8"], evaluation_data=DATA, verbose=0)
    assert report["formats"]["openvino_int8"]["equal_argmax"] > 0.9
    integers, floats = integer_layers(tmp_path)
    assert integers.count("Convolution") == 7
    assert floats == []


def test_zeros_and_distinct_values_survive_in_every_kernel(compressed):
    _, entry, zeros, _ = compressed
    rows = {row["weight"]: row for row in entry["weights"]}
    assert set(rows) == set(zeros)
    for path, count in zeros.items():
        assert rows[path]["zeros"] >= count >= round(0.8 * rows[path]["elements"])
        assert rows[path]["max_distinct_per_channel"] <= 16


def test_the_rows_are_what_openvino_reads(compressed):
    folder, entry, _, _ = compressed
    found = stored(folder)
    assert len(entry["weights"]) == len(found) == 3
    for row in entry["weights"]:
        codes, scales = found[row["name"]]
        assert row["dtype"] == codes.dtype.name == "int8"
        assert row["shape"] == list(codes.shape)
        assert row["zeros"] == (codes == 0).sum()
        assert row["distinct"] == np.unique(codes).size
        assert row["scales"] == scales.size


def test_the_runtime_computes_in_integers(compressed):
    folder = compressed[0]
    integers, floats = integer_layers(folder)
    assert len(integers) == 3
    assert floats == []


# --- models ----------------------------------------------------------------------------------------------------------


def test_float_images_go_in_as_they_are(tmp_path):
    images = np.random.default_rng(0).normal(size=(10, 16, 16, 3)).astype("float32")
    model = built(functional, images)
    export_model(model, tmp_path, FORMATS, evaluation_data=(images, LABELS), verbose=0)
    assert opened(tmp_path).input("input").element_type.to_string() == "f32"
    expected = answers(model, images)
    assert np.abs(run(tmp_path, images)["output"] - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize(
    ("make", "x", "inputs"),
    [(by_name, {"left": LEFT, "right": RIGHT}, {"left", "right"}), (by_place, (LEFT, RIGHT), {"b_left", "a_right"})],
    ids=["by_name", "by_place"],
)
def test_inputs_and_outputs_do_not_change_places(make, x, inputs, tmp_path):
    model = make()
    data = tf.data.Dataset.from_tensor_slices((x, np.zeros((9, 1)))).batch(4)
    report = export_model(model, tmp_path, FORMATS, evaluation_data=data, verbose=0)
    assert report["formats"]["openvino_int8"]["largest_difference"] < 0.05
    assert {port.any_name for port in opened(tmp_path).inputs} == inputs
    values = {"left": LEFT, "right": RIGHT, "b_left": LEFT, "a_right": RIGHT}
    found = run(tmp_path, *(values[port.any_name] for port in opened(tmp_path).inputs))
    expected = model(x)
    named = expected if isinstance(expected, dict) else {f"output_{i}": one for i, one in enumerate(expected)}
    assert set(found) == set(named)
    for name, one in named.items():
        np.testing.assert_allclose(found[name], one, atol=0.05)


def test_a_mixed_precision_model_converts_and_stays_mixed(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = built()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    export_model(model, tmp_path, FORMATS, evaluation_data=DATA, verbose=0)
    assert str(model.compute_dtype) == "float16"
    expected = answers(model)
    assert np.abs(run(tmp_path, IMAGES)["output"] - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_every_kernel_is_found_and_integer(tmp_path):
    images = np.random.default_rng(0).normal(size=(6, 16, 16, 3)).astype("float32")
    model = built(zoo, images)
    report = export_model(model, tmp_path, FORMATS, evaluation_data=(images, images), verbose=0)
    rows = report["formats"]["openvino_int8"]["weights"]
    shapes = {compat.variable_path(one): sorted(one.shape) for one in model.weights if len(one.shape) >= 2}
    assert {row["weight"] for row in rows} == set(shapes)
    assert {row["dtype"] for row in rows} == {"int8"}
    for row in rows:
        assert np.prod(row["shape"]) == np.prod(shapes[row["weight"]])
    integers, floats = integer_layers(tmp_path)
    assert (len(integers), floats) == (len(shapes), [])


def test_attention_is_integer(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 4, 6)).astype("float32")
    model = built(attention, x)
    report = export_model(model, tmp_path, FORMATS, evaluation_data=(x, x), verbose=0)
    kernels = {compat.variable_path(one) for one in model.weights if "kernel" in compat.variable_path(one)}
    assert {row["weight"] for row in report["formats"]["openvino_int8"]["weights"]} == kernels
    integers, floats = integer_layers(tmp_path)
    assert (len(integers), floats) == (len(kernels) + 2, [])  # and what the places make of each other


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_convolution_in_float_is_named(tmp_path, monkeypatch):
    broken = dataclasses.replace(TARGETS["openvino_int8"], write=export_targets.write_openvino_in_float)
    monkeypatch.setitem(TARGETS, "openvino_int8", broken)
    match = r"openvino_int8: operations compute in float32 in an integer file: .*Convolution \(.*first/kernel\)"
    with pytest.raises(ExportError, match=match):
        export_model(built(), tmp_path, FORMATS, evaluation_data=DATA, verbose=0)


def source_of(model, images, folder):
    frozen = signature.freeze(model, signature.input_specs(model, images[:1]))
    signature.save(frozen, folder / ONE)
    source = Source(folder, frozen.inputs, frozen.outputs)
    source.save_examples([[images[:1]]])
    return source


def test_a_model_that_openvino_changes_is_refused(tmp_path):
    model = built()
    source = source_of(model, IMAGES, tmp_path / "one")
    right = openvino_export.converted(source)
    openvino_export.require_agreement(right, source)
    for weight in select_weights(model).values():
        compat.assign(weight, 1.1 * compat.read(weight))
    scaled = source_of(model, IMAGES, tmp_path / "scaled")
    with pytest.raises(FormatError, match="before quantization 'output' differs by 0"):
        openvino_export.require_agreement(right, scaled)
    layers = keras.layers
    halved = keras.Sequential([keras.Input((16, 16, 3)), layers.Rescaling(1 / 255), layers.Conv2D(3, 1, 2)])
    other = openvino_export.converted(source_of(halved, IMAGES, tmp_path / "halved"))
    with pytest.raises(FormatError, match=r"'output' has shape \(1, 8, 8, 3\) instead of \(1, 16, 16, 3\)"):
        openvino_export.require_agreement(other, source)


def copied(folder, to, change):
    shutil.copytree(folder / "openvino_int8", to)
    content = (to / "model.xml").read_text()
    assert change(content) != content
    (to / "model.xml").write_text(change(content))
    return to


MINUS_ONE = 'shape="-1" offset="9" size="-1"'
BOMB = "<!DOCTYPE net [<!ENTITY a 'aaaaaaaa'>" + "".join(
    f"<!ENTITY {one} '{f'&{other};' * 30}'>" for other, one in itertools.pairwise("abcdefghij")
)
CHANGES = {
    "bomb": (lambda xml: xml.replace("<net ", BOMB + "]><net ", 1).replace('name="', 'name="&j;', 1), "document type"),
    "cut_off": (lambda xml: xml[: len(xml) // 2], "cannot be read"),
    "empty": (lambda xml: "", "cannot be read"),
    "outside": (lambda xml: re.sub(r'offset="\d+"', 'offset="999999999999"', xml), "is not in `model.bin`"),
    "before": (lambda xml: re.sub(r'offset="\d+"', 'offset="-9"', xml), "is not in `model.bin`"),
    "huge": (lambda xml: re.sub(r'shape="8, ', 'shape="99999999999, ', xml), "is not in `model.bin`"),
    "below_zero": (
        lambda xml: re.sub(r'shape="[\d, ]+" offset="\d+" size="\d+"', MINUS_ONE, xml),
        "is not in `model.bin`",
    ),
    "no_number": (lambda xml: xml.replace("<dim>8</dim>", "<dim>x</dim>"), "cannot be read"),
    "other_shape": (lambda xml: xml.replace("<dim>8</dim>", "<dim>7</dim>"), "not as OpenVINO stores it"),
    "other_dtype": (lambda xml: xml.replace('element_type="i8"', 'element_type="q9"'), "a dtype that is not known: q9"),
}


@pytest.mark.either_keras
@pytest.mark.parametrize("name", CHANGES)
def test_what_openvino_does_not_write_is_refused(compressed, tmp_path, name):
    change, cause = CHANGES[name]
    folder = copied(compressed[0], tmp_path / "copy", change)
    with pytest.raises(FormatError, match=cause):
        openvino_audit.read_weights(folder, {})


@pytest.mark.either_keras
def test_a_model_that_runs_in_circles_is_read_to_its_end(compressed, tmp_path):
    def circle(xml):
        return re.sub(r'from-layer="\d+"', 'from-layer="1"', xml).replace('type="Const"', 'type="Concat"')

    folder = copied(compressed[0], tmp_path / "copy", circle)
    assert openvino_audit.read_weights(folder, {}) == []


@pytest.mark.either_keras
def test_a_damaged_folder_is_not_loaded(compressed, tmp_path):
    folder = copied(compressed[0], tmp_path / "copy", lambda xml: xml.replace("<net ", "<net  ", 1))
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:100])
    with pytest.raises(FormatError, match="OpenVINO cannot load the model"):
        openvino_export.compiled(str(folder / "model.xml"))


@pytest.mark.either_keras
def test_a_damaged_folder_is_not_delivered(tmp_path, monkeypatch):
    broken = dataclasses.replace(TARGETS["openvino_int8"], write=export_targets.write_openvino_cut_off)
    monkeypatch.setitem(TARGETS, "openvino_int8", broken)
    with pytest.raises(ExportError, match="openvino_int8: the constant .* is not in `model.bin`: .* of 100"):
        export_model(built(), tmp_path, FORMATS, evaluation_data=DATA, verbose=0)


@pytest.mark.either_keras
def test_repetition_whose_sizes_are_not_known_stays():
    operations = openvino.opset13
    x = operations.parameter([1, -1, 4, 3], np.float32)
    tiled = operations.tile(operations.unsqueeze(x, np.int64(2)), np.array([1, 1, 2, 1, 1]))
    y = operations.parameter([1, 4, 4, 3], np.float32)
    often = operations.convert(operations.reduce_sum(operations.shape_of(x), np.array([0]), True), "i64")
    model = openvino.Model([operations.result(tiled), operations.result(operations.tile(y, often))], [x, y])
    openvino_resize.resize_instead_of_repeat(model)
    kinds = [node.get_type_name() for node in model.get_ops()]
    assert (kinds.count("Tile"), kinds.count("Interpolate")) == (2, 0)


# --- what others see -------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy():
    """Where all that wants to get out arrives instead: its address, and the requests."""
    requests = []

    def answer():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                requests.append(connection.recv(200))

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", requests
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.either_keras
def test_nobody_is_told(tmp_path, proxy):
    """OpenVINO and NNCF by themselves call Google Analytics, which shows that the test would see it."""
    address, requests = proxy
    environment = {
        "HTTPS_PROXY": address,
        "https_proxy": address,
        "NO_PROXY": "",
        "no_proxy": "",
        "CI": "",
        "TF_BUILD": "",
    }
    homes = {name: tmp_path / name for name in ("theirs", "ours")}
    for home in homes.values():
        home.mkdir()
    source = source_of(built(), IMAGES, tmp_path / "source")
    with Process(**environment, HOME=str(homes["ours"])) as process:
        limit = {"doing": "testing it", "time_limit": 60.0}
        process.call(openvino_export.write, source, tmp_path / "folder", **limit)
        process.call(worker.open_file, openvino_export.load, tmp_path / "folder", source, 1, **limit)
        process.call(worker.run, [IMAGES[:2]], **limit)
    assert requests == []
    assert not (homes["ours"] / "intel").exists()
    code = "import openvino, openvino_telemetry; openvino_telemetry.Telemetry().sender.executor.shutdown()"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment, "HOME": str(homes["theirs"])})
    assert any(b"google-analytics" in one for one in requests)
    assert (homes["theirs"] / "intel").exists()


@pytest.mark.either_keras
def test_threads_are_as_asked(compressed):
    compiled = openvino_export.compiled(str(compressed[0] / "openvino_int8/model.xml"), 1)
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
