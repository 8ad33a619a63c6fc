"""The int8 file for CPUs: what ONNX Runtime and OpenVINO make of it, and NumPy of its weights."""

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from segopt_callbacks import compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.export import ExportError
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.openvino.converter import without_telemetry
from tests.export import export_targets
from tests.export.onnx.test_converter import FLOATS, initializers, run
from tests.export_models import DATA, IMAGES, answers, built, functional


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    model = built()
    report = export_model(model, folder, ["onnx_int8"], evaluation_data=DATA, verbose=0)
    return folder / "onnx_int8.onnx", report["formats"]["onnx_int8"], model


def nodes(path, *types):
    return [node for node in onnx.load(str(path)).graph.node if node.op_type in types]


def test_it_takes_raw_uint8_images_and_agrees(exported):
    path, entry, model = exported
    onnx.checker.check_model(str(path), full_check=True)
    (outputs,) = run(path, IMAGES)
    expected = answers(model)
    difference = np.abs(outputs - expected)
    assert outputs.dtype == np.float32
    assert 0 < difference.max() <= 0.1 * np.abs(expected).max()
    assert entry["largest_difference"] == pytest.approx(difference.max(), rel=1e-3)
    assert entry["equal_argmax"] == (outputs.argmax(-1) == expected.argmax(-1)).mean() >= 0.9


def test_activations_are_unsigned_weights_signed_with_a_scale_for_each_channel(exported):
    path, entry, _ = exported
    stored = initializers(path)
    assert {stored[node.input[2]].dtype.name for node in nodes(path, "QuantizeLinear")} == {"uint8"}
    assert {row["dtype"] for row in entry["weights"]} == {"int8"}
    dequantized = {node.input[0]: node for node in nodes(path, "DequantizeLinear")}
    for row in entry["weights"]:
        scales, zero_points = (stored[name] for name in dequantized[row["name"]].input[1:])
        assert scales.size == row["scales"] == (3 if "head" in row["weight"] else 8)
        assert not zero_points.any()
    assert {one["dtype"] for one in entry["activations"]} <= {"uint8", "float32", "int64"}


def test_each_code_is_the_folded_weight_rounded(exported):
    """NumPy folds the normalisation; a code times its scale is at most half a scale away."""
    path, entry, model = exported
    stored = initializers(path)
    row = next(row for row in entry["weights"] if "first" in row["weight"])
    (dequantize,) = (node for node in nodes(path, "DequantizeLinear") if node.input[0] == row["name"])
    scale = stored[dequantize.input[1]][:, None, None, None]
    kernel = compat.read(model.first.kernel)
    gamma, variance = compat.read(model.normalize.gamma), compat.read(model.normalize.moving_variance)
    folded = (kernel * gamma / np.sqrt(variance + model.normalize.epsilon)).transpose(3, 2, 0, 1)
    assert (np.abs(stored[row["name"]] * scale - folded) <= 0.501 * scale).all()
    assert np.abs(stored[row["name"]]).max(axis=(1, 2, 3)).tolist() == [127] * 8


def test_ranges_are_those_of_the_representative_inputs(tmp_path):
    model = built(functional, FLOATS)
    shown = [0.5 * FLOATS[:3], 0.25 * FLOATS[3:]]
    export_model(
        model,
        tmp_path,
        ["onnx_int8"],
        representative_dataset=lambda: ([image[np.newaxis]] for part in shown for image in part),
        evaluation_data=(FLOATS, DATA[1]),
        verbose=0,
    )
    path = tmp_path / "onnx_int8.onnx"
    first = next(node for node in nodes(path, "QuantizeLinear"))
    scale, zero_point = (initializers(path)[name] for name in first.input[1:])
    assert zero_point == 0
    assert scale == pytest.approx(max(float(part.max()) for part in shown) / 255, rel=1e-5)


def test_openvino_reads_it_too(exported):
    openvino = without_telemetry()
    path, _, model = exported
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = np.concatenate([compiled({"input": image[np.newaxis]})["output"] for image in IMAGES])
    expected = answers(model)
    assert np.abs(outputs - expected).max() <= 0.1 * np.abs(expected).max()


def test_a_convolution_left_in_float32_is_named(tmp_path, monkeypatch):
    target = dataclasses.replace(TARGETS["onnx_int8"], write=export_targets.write_with_a_float_convolution)
    monkeypatch.setitem(TARGETS, "onnx_int8", target)
    with pytest.raises(ExportError, match=r"onnx_int8: operations compute in float32 in an integer file: Conv \(.*\);"):
        export_model(built(), tmp_path, ["onnx_int8"], evaluation_data=DATA, verbose=0)


def test_a_recurrent_layer_that_the_quantizer_leaves_alone_is_named(tmp_path):
    x = np.random.default_rng(0).normal(size=(6, 5, 4)).astype("float32")
    model = keras.Sequential([keras.Input((5, 4)), keras.layers.GRU(8), keras.layers.Dense(2)])
    with pytest.raises(ExportError, match=r"onnx_int8: operations compute in float32 in an integer file: ") as caught:
        export_model(model, tmp_path, ["onnx", "onnx_int8"], evaluation_data=(x, x[:, 0, :2]), verbose=0)
    assert list(caught.value.causes) == ["onnx_int8"]


def test_depthwise_separable_and_dense_layers_are_int8(tmp_path):
    def layers():
        return keras.Sequential(
            [
                keras.layers.SeparableConv2D(8, 3, padding="same", activation="relu"),
                keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(4),
            ]
        )

    model = built(layers, FLOATS)
    report = export_model(model, tmp_path, ["onnx_int8"], evaluation_data=(FLOATS, FLOATS), verbose=0)
    entry = report["formats"]["onnx_int8"]
    paths = {compat.variable_path(one) for one in model.weights if len(one.shape) > 1}
    assert {row["weight"] for row in entry["weights"]} == paths
    assert {row["dtype"] for row in entry["weights"]} == {"int8"}
    assert entry["relative_difference"] < 0.1


def test_a_shifted_zero_is_an_error(exported, tmp_path):
    path, entry, _ = exported
    model = onnx.load(str(path))
    name = next(node.input[2] for node in model.graph.node if node.input[0] == entry["weights"][0]["name"])
    (zero_point,) = (one for one in model.graph.initializer if one.name == name)
    zero_point.CopyFrom(numpy_helper.from_array(np.full(zero_point.dims, 3, "int8"), name))
    onnx.save(model, str(tmp_path / "shifted.onnx"))
    with pytest.raises(RuntimeError, match="zero point that is not 0"):
        TARGETS["onnx_int8"].read_weights(tmp_path / "shifted.onnx", {})
