"""ONNX files, opened and run here by ONNX' own checker and reference evaluator, and by ONNX Runtime itself."""

import dataclasses
import functools

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from segopt_callbacks import cluster_model, compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export import ExportError
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.onnx import audit as onnx_file
from segopt_callbacks.export.onnx import converter
from segopt_callbacks.export.onnx import graph as onnx_graph
from segopt_callbacks.export.source import ONE, Source
from segopt_callbacks.model import signature
from tests.export import export_targets
from tests.export_models import CLASSES, DATA, IMAGES, Segmenter, answers, built, functional, pruned

ALL = ("onnx", "onnx_int8", "tensorrt")
FLOATS = (IMAGES / 255).astype("float32")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    model = built()
    report = export_model(model, folder, ["onnx"], evaluation_data=DATA, verbose=0)
    return folder / "onnx.onnx", report["formats"]["onnx"], model


def run(path, *inputs):
    """Answers to every example, one after the other, by ONNX Runtime as a user opens it."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    count = len(inputs[0])
    parts = [session.run(None, dict(zip(names, (x[i : i + 1] for x in inputs), strict=True))) for i in range(count)]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def initializers(path):
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(str(path)).graph.initializer}


def test_it_takes_raw_uint8_images_and_agrees(exported):
    path, entry, model = exported
    (given,) = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()
    assert (given.name, given.type, given.shape) == ("input", "tensor(uint8)", [1, 16, 16, 3])
    (outputs,) = run(path, IMAGES)
    expected = answers(model)
    difference = np.abs(outputs - expected)
    assert difference.max() <= 1e-5 * np.abs(expected).max()
    assert entry["largest_difference"] == pytest.approx(difference.max(), rel=1e-3, abs=1e-6)
    assert entry["equal_argmax"] == 1.0


def test_it_is_valid_and_means_the_same_to_the_reference_of_onnx(exported):
    path, _, model = exported
    proto = onnx.load(str(path))
    onnx.checker.check_model(proto, full_check=True)
    assert {one.domain for one in proto.graph.node} == {""}
    assert [one.name for one in proto.graph.output] == ["output"]
    (output,) = ReferenceEvaluator(proto).run(None, {"input": IMAGES[:1]})
    np.testing.assert_allclose(output, answers(model, IMAGES[:1]), atol=1e-4)


def test_every_weight_is_there_once_under_the_models_name(exported):
    path, entry, model = exported
    kernels = {compat.variable_path(one): compat.read(one) for one in model.weights if len(one.shape) > 1}
    rows = {row["weight"]: row for row in entry["weights"]}
    assert set(rows) == set(kernels)
    stored = initializers(path)
    for name, kernel in kernels.items():
        assert rows[name]["shape"] == list(stored[rows[name]["name"]].shape)
        assert rows[name]["elements"] == kernel.size
        assert rows[name]["dtype"] == "float32"
    assert sum(value.size for value in stored.values() if value.ndim > 1) < 1.2 * sum(map(np.size, kernels.values()))


def test_the_dtype_of_every_activation_is_reported(exported):
    path, entry, _ = exported
    reported = {one["name"]: one for one in entry["activations"]}
    proto = onnx.load(str(path))
    assert reported["input"] == {"name": "input", "shape": [1, 16, 16, 3], "dtype": "uint8"}
    assert reported["output"] == {"name": "output", "shape": [1, 16, 16, CLASSES], "dtype": "float32"}
    assert {name for node in proto.graph.node for name in node.output} <= set(reported)


@pytest.mark.parametrize("name", ALL)
def test_pruned_and_clustered_weights_stay_so_in_every_file(tmp_path, name):
    model = pruned(built(), 0.75)
    cluster_model(model, 16)
    report = export_model(model, tmp_path, [name], evaluation_data=DATA, verbose=0, remove_channels=False)
    stored = initializers(tmp_path / f"{name}.onnx")
    rows = report["formats"][name]["weights"]
    assert len(rows) == 3
    for row in rows:
        values = stored[row["name"]]
        assert row["zeros"] == (values == 0).sum() >= round(0.75 * row["elements"])
        assert row["distinct"] == len(np.unique(values))
        assert row["max_distinct_per_channel"] <= 16
    if name == "onnx":  # the normalisation behind a kernel is folded into it, and has one scale for all channels
        assert max(row["distinct"] for row in rows) <= 16


@pytest.mark.parametrize("name", ALL)
def test_names_and_order_of_several_inputs_and_outputs(tmp_path, name):
    left, right = (np.random.default_rng(seed).uniform(size=(9, 16)).astype("float32") for seed in (0, 1))
    inputs = {"right": keras.Input((16,), name="right"), "left": keras.Input((16,), name="left")}
    together = keras.layers.Concatenate()([inputs["left"], inputs["right"]])
    outputs = {"second": keras.layers.Dense(2)(together), "first": keras.layers.Dense(3)(inputs["left"])}
    model = keras.Model(inputs, outputs)
    data = tf.data.Dataset.from_tensor_slices(({"left": left, "right": right}, np.zeros((9, 1)))).batch(4)
    report = export_model(model, tmp_path, [name], evaluation_data=data, verbose=0)
    session = onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    expected = model({"left": left, "right": right}, training=False)
    for index in range(9):
        fed = {"left": left[index : index + 1], "right": right[index : index + 1]}
        for output in ("first", "second"):
            (answer,) = session.run([output], fed)
            np.testing.assert_allclose(answer[0], np.asarray(expected[output])[index], atol=0.05)
    assert report["formats"][name]["largest_difference"] < (1e-5 if name == "onnx" else 0.05)


@pytest.mark.parametrize("name", ALL)
def test_a_mixed_precision_model_becomes_a_float32_or_int8_file(tmp_path, name):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = built()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    entry = export_model(model, tmp_path, [name], evaluation_data=DATA, verbose=0)["formats"][name]
    assert "float16" not in {one["dtype"] for one in entry["activations"] + entry["weights"]}
    assert entry["largest_difference"] <= (0.02 if name == "onnx" else 0.1) * np.abs(answers(model)).max()


@pytest.mark.parametrize("name", ALL)
def test_float_images_of_a_functional_model(tmp_path, name):
    model = built(functional, FLOATS)
    report = export_model(model, tmp_path, [name], evaluation_data=(FLOATS, DATA[1]), verbose=0)
    (outputs,) = run(tmp_path / f"{name}.onnx", FLOATS)
    expected = answers(model, FLOATS)
    assert np.abs(outputs - expected).max() <= (1e-5 if name == "onnx" else 0.1) * np.abs(expected).max()
    assert report["formats"][name]["relative_difference"] <= (1e-5 if name == "onnx" else 0.1)


def test_an_input_that_the_model_does_not_read_stays_an_input(tmp_path):
    read, idle = keras.Input((4,), name="read"), keras.Input((3,), name="idle")
    model = keras.Model({"read": read, "idle": idle}, keras.layers.Dense(2)(read))
    x = {"read": np.ones((3, 4), "float32"), "idle": np.ones((3, 3), "float32")}
    data = tf.data.Dataset.from_tensor_slices((x, np.zeros((3, 2)))).batch(3)
    report = export_model(model, tmp_path, ["onnx"], evaluation_data=data, verbose=0)
    assert {one.name for one in onnx.load(str(tmp_path / "onnx.onnx")).graph.input} == {"read", "idle"}
    assert report["formats"]["onnx"]["relative_difference"] < 1e-5


def test_what_tf2onnx_alone_would_refuse(tmp_path):
    """Grouped convolutions (Keras 3 hands them to XLA), GELU (TensorFlow's Erfc), and constants that a layer keeps."""

    def layers():
        first = keras.layers.Normalization(mean=[0.2, 0.4, 0.6], variance=[0.1, 0.2, 0.3])
        grouped = keras.layers.Conv2D(6, 3, groups=3, activation=keras.activations.gelu)
        return keras.Sequential([first, grouped, keras.layers.Conv2D(CLASSES, 1)])

    model = built(layers, FLOATS)
    report = export_model(model, tmp_path, ["onnx"], evaluation_data=(FLOATS, FLOATS), verbose=0)
    (outputs,) = run(tmp_path / "onnx.onnx", FLOATS)
    np.testing.assert_allclose(outputs, answers(model, FLOATS), atol=1e-5)
    assert len(report["formats"]["onnx"]["weights"]) == 2


def test_weights_of_embeddings_and_recurrent_layers_are_audited(tmp_path):
    ids = np.random.default_rng(0).integers(0, 20, size=(6, 7)).astype("int32")
    layers = [keras.layers.Embedding(20, 8), keras.layers.LSTM(8), keras.layers.Dense(3)]
    model = built(lambda: keras.Sequential(layers), ids)
    report = export_model(model, tmp_path, ["onnx"], evaluation_data=(ids, ids), verbose=0)
    rows = report["formats"]["onnx"]["weights"]
    assert len(rows) == 4
    assert sum(row["elements"] for row in rows) == sum(np.size(one) for one in model.get_weights() if one.ndim > 1)
    np.testing.assert_allclose(run(tmp_path / "onnx.onnx", ids)[0], answers(model, ids), atol=1e-5)


# --- failures --------------------------------------------------------------------------------------------------------


def test_an_operation_that_onnx_lacks_is_named(tmp_path):
    class Strange(Segmenter):
        def call(self, inputs, training=None):
            return tf.math.digamma(super().call(inputs, training=training))

    with pytest.raises(ExportError, match=r"onnx: operations are not in ONNX: Digamma \(.*\); replace them") as caught:
        export_model(built(Strange), tmp_path, ["onnx", "saved_model"], evaluation_data=DATA, verbose=0)
    assert list(caught.value.causes) == ["onnx"]


@pytest.mark.parametrize("wrong", [1, converter.ATTEMPTS])
def test_a_conversion_of_other_outputs_is_made_again_a_few_times(tmp_path, monkeypatch, wrong):
    frozen = signature.freeze(built(), tf.TensorSpec((None, *IMAGES.shape[1:])))
    signature.save(frozen, tmp_path / ONE)
    source = Source(tmp_path, frozen.inputs, frozen.outputs, {})
    good, calls = converter._converted(source), []

    def convert(source):
        """As tf2onnx sometimes does."""
        calls.append(source)
        made = onnx.ModelProto.FromString(good.SerializeToString())
        if len(calls) <= wrong:
            made.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
        return made

    monkeypatch.setattr(converter, "_converted", convert)
    if wrong == converter.ATTEMPTS:
        with pytest.raises(FormatError):
            converter.onnx_source(source)
    else:
        assert converter.onnx_source(source).exists()
    assert len(calls) == min(wrong + 1, converter.ATTEMPTS)


@pytest.mark.parametrize(
    ("change", "cause"), [("too_small", "is damaged"), ("no_header", "is damaged"), ("cut_off", "onnx: ")]
)
def test_a_damaged_file_is_not_delivered(tmp_path, monkeypatch, change, cause):
    damaged = functools.partial(export_targets.write_damaged, "onnx", change)
    monkeypatch.setitem(TARGETS, "onnx", dataclasses.replace(TARGETS["onnx"], write=damaged))
    with pytest.raises(ExportError, match=cause):
        export_model(built(), tmp_path, ["onnx", "saved_model"], evaluation_data=DATA, verbose=0)
    assert not (tmp_path / "onnx.onnx").exists()


@pytest.mark.either_keras
def test_a_format_whose_packages_are_missing_names_the_extra_before_training(tmp_path, monkeypatch):
    target = dataclasses.replace(TARGETS["tensorrt"], requires=("onnx", "no_such_package"))
    monkeypatch.setitem(TARGETS, "tensorrt", target)
    with pytest.raises(
        ValueError, match=r"pip install 'segopt-callbacks\[tensorrt\]'.*without no_such_package"
    ) as error:
        export_model(built(), tmp_path, ["tensorrt"], evaluation_data=DATA)
    assert "'tensorrt'" in str(error.value)
    assert list(tmp_path.iterdir()) == []


# --- the reader ------------------------------------------------------------------------------------------------------


def graph_with(node, weight, *, rank=4):
    """A graph of one operation, `weight` its second input."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * rank)]
    outputs = [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, [None] * rank)]
    graph = helper.make_graph([node], "graph", inputs, outputs, [numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("operator", "shape", "axis", "attributes"),
    [
        ("Conv", (8, 4, 3, 3), 0, {}),
        ("ConvTranspose", (4, 8, 3, 3), 1, {}),
        ("MatMul", (4, 8), 1, {}),
        ("Gemm", (4, 8), 1, {}),
        ("Gemm", (8, 4), 0, {"transB": 1}),
    ],
)
def test_output_channels_are_found_whatever_the_layout(operator, shape, axis, attributes):
    """Eight output channels, each filled with its number."""
    index = np.moveaxis(np.zeros(shape), axis, -1) + np.arange(8)
    weight = np.moveaxis(index, -1, axis).astype("float32")
    node = helper.make_node(operator, ["x", "w"], ["y"], **attributes)
    (stored,) = onnx_file.stored_weights(onnx_graph.graph_of(graph_with(node, weight)))
    assert stored.channel_axis == axis
    np.testing.assert_array_equal(stored.channels, np.tile(np.arange(8.0)[:, None], (1, weight.size // 8)))


@pytest.mark.either_keras
def test_weights_inside_of_inner_graphs_are_read_too():
    weight = numpy_helper.from_array(np.ones((4, 8), "float32"), "w")
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 8])
    inner = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "inner", [], [output], [weight])
    other = helper.make_graph(
        [helper.make_node("Identity", ["z"], ["y2"])],
        "other",
        [],
        [helper.make_tensor_value_info("y2", TensorProto.FLOAT, [None, 8])],
    )
    node = helper.make_node("If", ["c"], ["out"], then_branch=inner, else_branch=other)
    inputs = [
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4]),
        helper.make_tensor_value_info("z", TensorProto.FLOAT, [None, 8]),
    ]
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 8])
    model = helper.make_model(helper.make_graph([node], "outer", inputs, [result]))
    graph = onnx_graph.graph_of(model)
    assert [one.name for one in onnx_file.stored_weights(graph)] == ["w"]
    assert [onnx_graph.label(one) for one in onnx_file.float_nodes(graph)] == ["MatMul (y)"]


@pytest.mark.either_keras
@pytest.mark.parametrize("content", [b"", b"no model at all", bytes(100)])
def test_what_is_no_onnx_file_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="no ONNX model"):
        onnx_graph.open_graph(path)
    with pytest.raises(FormatError, match="no ONNX model"):
        onnx_graph.open_graph(tmp_path / "missing.onnx")


@pytest.mark.either_keras
def test_a_file_that_onnx_runtime_cannot_load_is_told(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    with pytest.raises(FormatError, match="ONNX Runtime cannot load the file"):
        TARGETS["onnx"].load(tmp_path / "bad.onnx", None, None)
