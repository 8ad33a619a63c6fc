"""Weights of 8 and 4 bits: what ai-edge-quantizer leaves, what the interpreter reads, and what becomes of zeros."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks import cluster_model, compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.litert import ai_edge, flatbuffer, schema
from segopt_callbacks.export.litert import converter as litert
from segopt_callbacks.model.weights import select_weights
from tests.export.litert.litert_cases import CASES, LABELS, expected, run, tensors_at_work, wide
from tests.export_models import DATA, IMAGES, built, pruned

FORMATS = ("weight_only_int8", "int4")
# Largest difference of an answer, as a fraction of the largest answer. The weights are random; see test_int4_... below.
TOLERANCE = {"weight_only_int8": 0.02, "int4": 0.35}
X = np.random.default_rng(0).uniform(size=(8, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module", params=CASES)
def exported(request, tmp_path_factory):
    make, x, inputs = CASES[request.param]
    keras.utils.set_random_seed(7)
    model, folder = make(), tmp_path_factory.mktemp(request.param)
    report = export_model(model, folder, FORMATS, evaluation_data=(x, LABELS), verbose=0)
    return folder, report, inputs, expected(model, x)


@pytest.mark.parametrize("name", FORMATS)
def test_it_agrees_and_inputs_and_outputs_stay_what_they_are(exported, name):
    folder, report, inputs, answers = exported
    (signature,) = Interpreter(str(folder / f"{name}.tflite")).get_signature_list().values()
    assert signature == {"inputs": sorted(inputs), "outputs": sorted(answers)}
    runner = Interpreter(str(folder / f"{name}.tflite")).get_signature_runner()
    assert {key: np.dtype(one["dtype"]) for key, one in runner.get_input_details().items()} == {
        key: value.dtype for key, value in inputs.items()
    }
    for key, answer in run(folder / f"{name}.tflite", inputs).items():
        assert np.abs(answer - answers[key]).max() <= TOLERANCE[name] * np.abs(answers[key]).max()
    assert report["formats"][name]["status"] == "ok"


@pytest.mark.parametrize("name", FORMATS)
def test_the_rows_are_what_the_interpreter_reads(exported, name):
    """It unpacks 4-bit weights by itself; behind each DEQUANTIZE stand the codes times the scale of their channel."""
    folder, report, inputs, _ = exported
    path = folder / f"{name}.tflite"
    at_work, model = tensors_at_work(path, inputs), schema.unpack(path.read_bytes())
    graph = model.subgraphs[0]
    behind = {old: new for new, old in flatbuffer.constant_origins(model, graph).items()}
    numbers = {schema.tensor_name(tensor): index for index, tensor in enumerate(graph.tensors)}
    stored = {one.name: one for one in flatbuffer.stored_weights(path)}
    rows = {row["name"]: row for row in report["formats"][name]["weights"]}
    assert len(rows) == len(stored) == len(report["model"]["weights"])
    dequantized = [(numbers[key], one) for key, one in stored.items() if one.dtype == "int8"]
    for key, one in stored.items():
        values = at_work[numbers[key]]
        np.testing.assert_array_equal(values, one.values)
        assert rows[key]["dtype"] == one.dtype == f"int{ai_edge.RECIPES[name][one.operator].bits}"
        assert rows[key]["zeros"] == (values == 0).sum()
        assert rows[key]["distinct"] == np.unique(values).size
        assert rows[key]["scales"] == values.shape[one.channel_axis]
    for number, one in dequantized:
        shape = np.ones(one.values.ndim, int)
        shape[one.channel_axis] = -1
        np.testing.assert_allclose(at_work[behind[number]], one.values * one.scales.reshape(shape), rtol=1e-6)


def test_a_weight_of_4_bits_takes_half_a_byte(tmp_path):
    report = export_model(wide(), tmp_path, FORMATS, evaluation_data=(X, LABELS[:8]), verbose=0)
    whole, half = (report["formats"][name] for name in FORMATS)
    packed = [row for row in half["weights"] if row["dtype"] == "int4"]
    assert len(packed) == 3
    assert {row["dtype"] for row in half["weights"] if row not in packed} == {"int8"}  # the transposed convolution
    assert whole["bytes"] - half["bytes"] == pytest.approx(0.5 * sum(row["elements"] for row in packed), abs=500)
    for row in packed:
        assert row["distinct"] <= 15
        assert row["entropy_bytes"] <= 0.5 * row["elements"]


def test_no_data_is_needed(tmp_path):
    report = export_model(built(), tmp_path, FORMATS, verbose=0)
    assert report["verification"]["data"] == "noise"


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """80% zeros, 16 distinct values in each kernel, and a channel that is dead."""
    folder = tmp_path_factory.mktemp("compressed")
    model = pruned(built(), 0.8)
    kernel = next(weight for path, weight in select_weights(model).items() if "first" in path)
    dead = compat.read(kernel).copy()
    dead[..., 2] = 0
    compat.assign(kernel, dead)
    cluster_model(model, 16)
    return folder, model, export_model(model, folder, FORMATS, evaluation_data=DATA, verbose=0, remove_channels=False)


@pytest.mark.parametrize("name", FORMATS)
def test_pruned_weights_are_exactly_zero(compressed, name):
    folder, model, report = compressed
    at_work = tensors_at_work(folder / f"{name}.tflite", {"input": IMAGES}).values()
    for row in report["formats"][name]["weights"]:
        value = compat.read(select_weights(model)[row["weight"]])
        assert row["zeros"] >= (value == 0).sum() >= round(0.8 * value.size)
        used = [one for one in at_work if list(one.shape) == row["shape"]]
        assert row["zeros"] in [int((one == 0).sum()) for one in used]
        assert all(np.isfinite(one).all() for one in used)


def test_weights_that_are_equal_stay_equal(compressed):
    folder, model, report = compressed
    for name in FORMATS:
        for row in report["formats"][name]["weights"]:
            assert row["max_distinct_per_channel"] <= (15 if name == "int4" else 16)
    (head,) = [one for one in flatbuffer.stored_weights(folder / "int4.tflite") if one.values.shape == (3, 1, 1, 16)]
    kernel = compat.read(next(one for path, one in select_weights(model).items() if "head" in path))[0, 0].T
    for codes, values in zip(head.channels, kernel, strict=True):
        pairs = set(zip(values.tolist(), codes.tolist(), strict=True))
        assert len(pairs) == np.unique(values).size


# --- what the quantizer does without a word --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def float_content(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float32")
    keras.utils.set_random_seed(7)
    export_model(CASES["separable"][0](), folder, ["float32"], verbose=0)
    return (folder / "float32.tflite").read_bytes()


def by_recipe(content, recipe):
    from ai_edge_quantizer import quantizer

    job = quantizer.Quantizer(content, recipe)
    return bytes(job.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model)


def test_recipes_that_leave_weights_as_they_were_are_caught(float_content):
    from ai_edge_quantizer import recipe as recipes

    with pytest.raises(FormatError, match=r"left weights in another dtype: .*\(CONV_2D, float32\)"):
        ai_edge.require_dtypes(by_recipe(float_content, recipes.dynamic_wi4b32_afp32()), ai_edge.RECIPES["int4"])
    with pytest.raises(FormatError, match=r"\(TRANSPOSE_CONV, float32\)") as caught:
        ai_edge.require_dtypes(by_recipe(float_content, recipes.weight_only_wi4_afp32()), ai_edge.RECIPES["int4"])
    assert "(CONV_2D" not in str(caught.value)
    for recipe in ai_edge.RECIPES.values():
        ai_edge.require_dtypes(ai_edge.quantize(float_content, recipe), recipe)


def test_a_kernel_that_it_does_not_know_is_named(tmp_path):
    """A convolution over volumes."""
    from segopt_callbacks.export import ExportError

    x = np.random.default_rng(0).normal(size=(2, 4, 4, 4, 2)).astype("float32")
    model = keras.Sequential([keras.Input((4, 4, 4, 2)), keras.layers.Conv3D(3, 2), keras.layers.Dense(2)])
    with pytest.raises(ExportError, match=r"weight_only_int8: .*\(CONV_3D, float32\); leave this format out") as caught:
        export_model(model, tmp_path, [*FORMATS, "float32"], evaluation_data=(x, np.zeros(2)), verbose=0)
    assert set(caught.value.causes) == set(FORMATS)


def test_tensors_of_one_name_are_told_apart(float_content):
    from ai_edge_quantizer import quantizer

    model = schema.unpack(float_content)
    for tensor in model.subgraphs[0].tensors:
        tensor.name = "the same"
    content = schema.pack(model)
    with pytest.raises(ValueError, match="is not unique"):
        quantizer.Quantizer(content, _any_recipe()).quantize(enable_progress_report=False)
    inputs = CASES["separable"][2]
    for recipe in ai_edge.RECIPES.values():
        expected = run(ai_edge.quantize(float_content, recipe), inputs)["output"]
        np.testing.assert_array_equal(run(ai_edge.quantize(content, recipe), inputs)["output"], expected)


def _any_recipe():
    from ai_edge_quantizer import recipe

    return recipe.weight_only_wi8_afp32()


def test_large_weights_move_back_into_the_flatbuffer(tmp_path):
    """The quantizer puts them behind it from 256 KB on, where not every reader looks for them."""
    inputs = keras.Input((700,))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(500, activation="relu")(inputs)))
    export_model(model, tmp_path, ["float32"], verbose=0)
    content = (tmp_path / "float32.tflite").read_bytes()
    outside = by_recipe(content, _any_recipe())
    assert max(one.offset for one in _raw(outside).buffers) > 1
    inside = ai_edge.quantize(content, ai_edge.RECIPES["weight_only_int8"])
    assert max(one.offset for one in _raw(inside).buffers) <= 1
    for one, other in zip(flatbuffer.stored_weights(outside), flatbuffer.stored_weights(inside), strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    x = {"input": np.random.default_rng(0).normal(size=(2, 700)).astype("float32")}
    np.testing.assert_array_equal(run(inside, x)["output"], run(outside, x)["output"])


def _raw(content):
    from ai_edge_litert import schema_py_generated

    return schema_py_generated.ModelT.InitFromPackedBuf(content, 0)


def test_an_odd_number_of_weights_of_4_bits(tmp_path):
    """Their last byte is half empty."""
    inputs = keras.Input((5, 5, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1)(inputs))
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
    report = export_model(model, tmp_path, ["int4"], evaluation_data=(x, np.zeros(2)), verbose=0)
    (row,) = report["formats"]["int4"]["weights"]
    assert (row["elements"], row["dtype"]) == (9, "int4")
    answers = run(tmp_path / "int4.tflite", {"input": x})["output"]
    (stored,) = flatbuffer.stored_weights(tmp_path / "int4.tflite")
    kernel = (stored.values * stored.scales.reshape(-1, 1, 1, 1))[:, 0, 0].T
    np.testing.assert_allclose(answers, x @ kernel, atol=0.02 * np.abs(answers).max())  # inputs are rounded to int8


def test_the_extra_is_named():
    for name in FORMATS:
        assert (TARGETS[name].requires, TARGETS[name].extra) == (("ai_edge_quantizer",), "int4")
    assert litert.target("int8").extra is None
