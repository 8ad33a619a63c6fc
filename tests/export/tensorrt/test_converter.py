"""The file for TensorRT: its rules, each broken once; its answers in ONNX Runtime; what the report tells."""

import os
import re
import sys
import types

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from segopt_callbacks import compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export import ExportError
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.tensorrt import converter as tensorrt
from segopt_callbacks.export.tensorrt import engine as tensorrt_engine
from segopt_callbacks.export.tensorrt.rules import OPSETS, check_for_tensorrt
from segopt_callbacks.processes.process import VISIBLE_GPUS, Process
from segopt_callbacks.records.ports import Port
from tests.export.onnx.test_converter import FLOATS, initializers, run
from tests.export.tensorrt import tensorrt_double
from tests.export_models import DATA, IMAGES, answers, built


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    model = built()
    report = export_model(model, folder, ["tensorrt", "onnx_int8"], evaluation_data=DATA, verbose=0)
    return folder / "tensorrt.onnx", report["formats"]["tensorrt"], model


def find(model, operator, index=0):
    return [node for node in model.graph.node if node.op_type == operator][index]


def test_it_breaks_no_rule_and_agrees(exported):
    path, entry, model = exported
    onnx.checker.check_model(str(path), full_check=True)
    assert check_for_tensorrt(path) == []
    (outputs,) = run(path, IMAGES)
    expected = answers(model)
    difference = np.abs(outputs - expected)
    assert 0 < difference.max() <= 0.1 * np.abs(expected).max()
    assert entry["largest_difference"] == pytest.approx(difference.max(), rel=1e-3)


def test_everything_is_symmetric_int8_and_biases_are_float32(exported):
    path, _, _ = exported
    stored = initializers(path)
    proto = onnx.load(str(path))
    pairs = [node for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    for node in pairs:
        assert stored[node.input[2]].dtype == np.int8
        assert not stored[node.input[2]].any()
    biases = [node.input[2] for node in proto.graph.node if "Conv" in node.op_type and len(node.input) > 2]
    assert {stored[name].dtype.name for name in biases} == {"float32"}


def test_weights_have_a_scale_per_channel_but_transposed_ones_one_for_all(exported):
    _, entry, _ = exported
    scales = {row["weight"].rpartition("/")[0].rpartition("/")[2]: row for row in entry["weights"]}
    assert scales["up"]["scales"] == 1
    assert scales["head"]["scales"] == 3
    assert scales["first"]["dtype"] == "float32"  # three input channels


def test_the_report_tells_how_to_build_the_engine_and_what_stays_float32(exported):
    path, entry, _ = exported
    notes = entry["notes"]
    assert notes["engine"] == "not built"
    assert notes["why"]
    assert notes["command"] == "trtexec --onnx=tensorrt.onnx --stronglyTyped --saveEngine=tensorrt.engine"
    (left,) = notes["float32_operations"]
    assert left == f"Conv ({find(onnx.load(str(path)), 'Conv').output[0]})"
    for name in ("report.md", "report.html"):
        assert notes["command"] in (path.parent / name).read_text()


# --- the rules -------------------------------------------------------------------------------------------------------


def constant(model, name):
    return next(one for one in model.graph.initializer if one.name == name)


def replace(model, name, value):
    constant(model, name).CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def weight_of(model, operator, index=0):
    node = find(model, operator, index)
    return next(one for one in model.graph.node if node.input[1] in one.output)


def zero_point_not_zero(model):
    replace(model, find(model, "QuantizeLinear").input[2], np.int8(3))


def zero_point_unsigned(model):
    replace(model, find(model, "QuantizeLinear").input[2], np.uint8(0))


def no_zero_point(model):
    del find(model, "QuantizeLinear").input[2]


def scale_of_zero(model):
    replace(model, find(model, "QuantizeLinear").input[1], np.float32(0))


def two_scales_for_an_activation(model):
    replace(model, find(model, "QuantizeLinear").input[1], np.ones(2, "float32"))
    replace(model, find(model, "QuantizeLinear").input[2], np.zeros(2, "int8"))


def one_scale_for_a_convolution(model):
    dequantize = weight_of(model, "Conv", 1)
    replace(model, dequantize.input[1], np.float32(1))


def wrong_axis(model):
    dequantize = weight_of(model, "Conv", 1)
    next(one for one in dequantize.attribute if one.name == "axis").i = 1


def scales_for_a_transposed_convolution(model):
    dequantize = weight_of(model, "ConvTranspose")
    replace(model, dequantize.input[1], np.ones(8, "float32"))
    dequantize.attribute.append(helper.make_attribute("axis", 1))


def relu_in_int8(model):
    quantize, dequantize = find(model, "QuantizeLinear"), find(model, "DequantizeLinear")
    dequantize = next(one for one in model.graph.node if quantize.output[0] in one.input)
    model.graph.node.append(helper.make_node("Relu", [quantize.output[0]], ["rectified"]))
    dequantize.input[0] = "rectified"


def bias_in_int32(model):
    bias = find(model, "Conv", 1).input[2]
    shape = constant(model, bias).dims
    for name, value in (
        ("codes", np.zeros(shape, "int32")),
        ("bias_scale", np.ones(shape, "float32")),
        ("bias_zero", np.zeros(shape, "int32")),
    ):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    model.graph.node.append(
        helper.make_node("DequantizeLinear", ["codes", "bias_scale", "bias_zero"], ["bias"], axis=0)
    )
    find(model, "Conv", 1).input[2] = "bias"


def an_old_opset(model):
    next(one for one in model.opset_import if not one.domain).version = OPSETS.start - 1


def another_domain(model):
    find(model, "Concat").domain = "com.microsoft"


def an_unsupported_operator(model):
    model.graph.node.append(helper.make_node("Unique", [find(model, "Concat").output[0]], ["once"]))


def cubic_resizing(model):
    image = find(model, "Concat").output[0]
    model.graph.node.append(helper.make_node("Resize", [image, "", "scale"], ["large"], mode="cubic"))


def raw_bytes_transposed(model):
    model.graph.node.append(helper.make_node("Transpose", ["input"], ["turned"]))


def cast_to_bytes(model):
    image = find(model, "Concat").output[0]
    model.graph.node.append(helper.make_node("Cast", [image], ["bytes"], to=TensorProto.UINT8))


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (zero_point_not_zero, r"^QuantizeLinear \(.*\) has a zero point that is not 0$"),
        (zero_point_unsigned, r"^QuantizeLinear \(.*\) quantizes to uint8, not int8$"),
        (no_zero_point, r"^QuantizeLinear \(.*\) has no constant zero point"),
        (scale_of_zero, r"^QuantizeLinear \(.*\) has a scale that is not constant and above 0$"),
        (two_scales_for_an_activation, r"^QuantizeLinear \(.*\) has 2 scales for an activation$"),
        (one_scale_for_a_convolution, r"^Conv \(.*\) has 1 scales along axis 0 .* must have 3 along axis 0$"),
        (wrong_axis, r"^Conv \(.*\) has 3 scales along axis 1 .* must have 3 along axis 0$"),
        (scales_for_a_transposed_convolution, r"^ConvTranspose \(.*\) has 8 scales along axis 1 .* must have 1$"),
        (relu_in_int8, r"^QuantizeLinear \(.*\) is read by Relu \(rectified\), not DequantizeLinear$"),
        (bias_in_int32, r"^DequantizeLinear \(bias\) quantizes to int32, not int8$"),
        (an_old_opset, r"^the opset is 12, and must be 13 to 24$"),
        (another_domain, r"^Concat \(.*\) is of the domain 'com.microsoft', not of ONNX$"),
        (an_unsupported_operator, r"^Unique \(once\) is not supported$"),
        (cubic_resizing, r"^Resize \(large\) resizes by cubic, half_pixel, which is not supported$"),
        (
            raw_bytes_transposed,
            r"^the uint8 input 'input' is read by Transpose \(turned\); cast it first$",
        ),
        (cast_to_bytes, r"^Cast \(bytes\) casts to uint8 inside the network$"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_each_broken_rule_is_named(exported, tmp_path, break_it, message):
    model = onnx.load(str(exported[0]))
    break_it(model)
    onnx.save(model, str(tmp_path / "broken.onnx"))
    broken = check_for_tensorrt(tmp_path / "broken.onnx")
    assert any(re.search(message, one) for one in broken), broken


def test_the_file_for_cpus_breaks_the_rules(exported):
    broken = check_for_tensorrt(exported[0].with_name("onnx_int8.onnx"))
    assert any("quantizes to uint8" in one for one in broken)
    assert any("quantizes to int32" in one for one in broken)


# --- models ----------------------------------------------------------------------------------------------------------


def residual():
    """A residual block with an upsampled branch, depthwise and grouped convolutions, and a dense head."""
    inputs = keras.Input((16, 16, 3))
    hidden = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    inner = keras.layers.DepthwiseConv2D(3, padding="same")(hidden)
    inner = keras.layers.Conv2D(16, 3, padding="same", groups=2)(inner)
    hidden = keras.layers.ReLU()(keras.layers.Add()([hidden, inner]))
    small = keras.layers.AveragePooling2D(2)(hidden)
    hidden = keras.layers.Concatenate()([hidden, keras.layers.UpSampling2D(interpolation="bilinear")(small)])
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    return keras.Model(inputs, [keras.layers.Conv2D(3, 1)(hidden), keras.layers.Dense(4)(pooled)])


def test_residuals_upsampling_and_grouped_convolutions_break_no_rule(tmp_path):
    model = built(residual, FLOATS)
    report = export_model(model, tmp_path, ["tensorrt"], evaluation_data=(FLOATS, DATA[1]), verbose=0)
    entry = report["formats"]["tensorrt"]
    assert check_for_tensorrt(tmp_path / "tensorrt.onnx") == []
    assert entry["relative_difference"] < 0.1
    assert len(entry["notes"]["float32_operations"]) == 1
    paths = {compat.variable_path(one) for one in model.weights if len(one.shape) > 1}
    assert {row["weight"] for row in entry["weights"]} == paths


def test_raw_bytes_that_are_cut_before_they_are_cast_are_refused(tmp_path):
    class Cropping(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = keras.layers.Conv2D(8, 3), keras.layers.Conv2D(8, 3)

        def call(self, inputs):
            return self.last(self.first(tf.cast(inputs[:, 2:-2], "float32")))

    model = built(Cropping)
    with pytest.raises(ExportError, match=r"tensorrt: TensorRT would refuse the file: the uint8 input .* by Slice"):
        export_model(model, tmp_path, ["tensorrt"], evaluation_data=(IMAGES, IMAGES), verbose=0)


def test_a_model_that_has_nothing_to_quantize_says_so(tmp_path):
    def layers():
        return keras.Sequential([keras.layers.Conv2D(3, 3)])

    with pytest.raises(ExportError, match="tensorrt: nothing in the model has an int8 kernel in TensorRT"):
        export_model(built(layers, FLOATS), tmp_path, ["tensorrt"], evaluation_data=(FLOATS, FLOATS), verbose=0)


# --- the engine, by a stand-in for TensorRT --------------------------------------------------------------------------


@pytest.fixture
def double(monkeypatch):
    bindings = types.ModuleType("cuda.bindings")
    bindings.runtime = tensorrt_double.CUDA
    modules = {"tensorrt": tensorrt_double, "cuda": types.ModuleType("cuda"), "cuda.bindings": bindings}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(tensorrt, "_missing_package", lambda: None)


@pytest.fixture
def copied(exported, tmp_path):
    path = tmp_path / "tensorrt.onnx"
    path.write_bytes(exported[0].read_bytes())
    ports = Port("input", (1, 16, 16, 3), "uint8"), Port("output", (1, 16, 16, 3), "float32")
    return path, Source(tmp_path, ports[:1], ports[1:])


@pytest.mark.either_keras
def test_where_tensorrt_is_its_engine_answers(double, copied):
    path, source = copied
    (answer,) = tensorrt.load(path, source, None)([IMAGES])
    np.testing.assert_allclose(answer, run(path, IMAGES)[0], atol=1e-6)
    assert tensorrt.notes(path, {})["engine"] == "built, run and compared"


@pytest.mark.either_keras
@pytest.mark.parametrize("visible", ["", "1"])
def test_the_engine_gets_the_gpus_that_the_user_has_left_visible(double, monkeypatch, visible):
    monkeypatch.setenv(VISIBLE_GPUS, visible)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # as in every process of an export
    assert tensorrt_engine.has_gpu()
    assert os.environ.get("CUDA_VISIBLE_DEVICES", "") == visible


@pytest.mark.either_keras
def test_processes_hand_the_visible_gpus_on(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with Process() as process:
        assert process.call(os.getenv, VISIBLE_GPUS, doing="asking", time_limit=60) == "2,3"
        assert process.call(os.getenv, "CUDA_VISIBLE_DEVICES", doing="asking", time_limit=60) == "-1"


@pytest.mark.either_keras
def test_an_engine_that_answers_otherwise_is_an_error(double, copied, monkeypatch):
    monkeypatch.setattr(tensorrt_double.Engine, "factor", 1.2)
    with pytest.raises(FormatError, match=r"the engine's 'output' is off by 0.2 of the largest answer"):
        tensorrt.load(*copied, None)([IMAGES])


@pytest.mark.either_keras
def test_a_file_that_tensorrt_refuses_is_an_error(double, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    with pytest.raises(FormatError, match="TensorRT cannot parse the file: node 3: unsupported"):
        tensorrt_engine.build(tmp_path / "bad.onnx")
