"""Every LiteRT file, opened and run here by the interpreter itself, not by the library's own loader."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks import export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export import ExportError
from segopt_callbacks.export.litert import converter as litert
from segopt_callbacks.export.litert import schema
from tests.export.litert import litert_cases
from tests.export.litert.litert_cases import CASES
from tests.export_models import DATA, IMAGES, LABELS, Wavy, answers, built, functional

LITERT = ("float32", "float16", "dynamic_int8", "int8", "int16x8")
INTEGERS = {"int8": np.int8, "int16x8": np.int16}  # of activations
# Largest difference of a logit, as a fraction of the largest logit.
TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "dynamic_int8": 0.1, "int8": 0.1, "int16x8": 0.02}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    model = built()
    report = export_model(model, folder, LITERT, evaluation_data=DATA, verbose=0)
    return folder, report, answers(model)


def run(path, images):
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for image in images:
        interpreter.set_tensor(given["index"], image[np.newaxis].astype(given["dtype"]))
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(taken["index"])[0])
    return given, taken, np.stack(outputs)


@pytest.mark.parametrize("name", LITERT)
def test_it_takes_raw_uint8_images_and_agrees(exported, name):
    folder, report, expected = exported
    given, taken, outputs = run(folder / f"{name}.tflite", IMAGES)
    assert given["dtype"] is np.uint8
    assert list(given["shape"]) == [1, 16, 16, 3]
    scale, zero_point = taken["quantization"]
    if name in INTEGERS:
        assert taken["dtype"] is INTEGERS[name]
        outputs = (outputs.astype("float32") - zero_point) * scale
    else:
        assert taken["dtype"] is np.float32
    difference = np.abs(outputs - expected)
    assert difference.max() <= TOLERANCE[name] * np.abs(expected).max()
    entry = report["formats"][name]
    assert entry["largest_difference"] == pytest.approx(difference.max(), rel=1e-3, abs=1e-6)
    assert entry["mean_difference"] == pytest.approx(difference.mean(), rel=1e-3, abs=1e-7)
    assert entry["equal_argmax"] == (outputs.argmax(-1) == expected.argmax(-1)).mean()


def test_each_stores_what_its_name_says(exported):
    _, report, _ = exported
    dtypes = {name: {row["dtype"] for row in entry["weights"]} for name, entry in report["formats"].items()}
    assert dtypes["float32"] == {"float32"}
    assert dtypes["float16"] == {"float16"}
    assert dtypes["int8"] == dtypes["int16x8"] == {"int8"}


def test_dynamic_int8_stores_kernels_of_1024_elements_or_more_as_int8(tmp_path):
    """LiteRT leaves smaller ones in float32; the report says so instead of hiding it."""
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    layers = [keras.layers.Conv2D(16, 3, activation="relu"), keras.layers.Conv2D(8, 3)]  # 432 and 1152 elements
    model = built(lambda: keras.Sequential(layers), images)
    report = export_model(model, tmp_path, ["dynamic_int8"], evaluation_data=(images, images), verbose=0)
    rows = report["formats"]["dynamic_int8"]["weights"]
    assert {row["elements"]: row["dtype"] for row in rows} == {432: "float32", 1152: "int8"}


def test_inputs_and_outputs_have_plain_names(exported):
    folder, _, _ = exported
    for name in LITERT:
        (signature,) = Interpreter(model_path=str(folder / f"{name}.tflite")).get_signature_list().values()
        assert signature == {"inputs": ["input"], "outputs": ["output"]}


@pytest.mark.parametrize("name", INTEGERS)
def test_float_images_go_into_integer_files_by_scale_and_zero_point(tmp_path, name):
    images = np.random.default_rng(0).normal(size=(10, 16, 16, 3)).astype("float32")
    model = built(functional, images)
    report = export_model(model, tmp_path, [name], evaluation_data=(images, LABELS), verbose=0)
    (given,) = Interpreter(model_path=str(tmp_path / f"{name}.tflite")).get_input_details()
    assert given["dtype"] is INTEGERS[name]
    difference = report["formats"][name]["largest_difference"]
    assert difference <= TOLERANCE[name] * np.abs(answers(model, images)).max()


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_model_as_int16x8(tmp_path, case):
    """The rounding that is left is that of 8-bit weights: activations of 16 bits are 100 times finer than int8's."""
    make, x, inputs = CASES[case]
    model = make()
    report = export_model(model, tmp_path, ["int8", "int16x8"], evaluation_data=(x, np.zeros(len(IMAGES))), verbose=0)
    entry = report["formats"]["int16x8"]
    assert {one["dtype"] for one in entry["activations"]} <= {"int16", "uint8", "int8"}
    assert {row["dtype"] for row in entry["weights"]} == {"int8"}
    (signature,) = Interpreter(str(tmp_path / "int16x8.tflite")).get_signature_list().values()
    given = Interpreter(str(tmp_path / "int16x8.tflite")).get_signature_runner().get_input_details()
    for name, value in inputs.items():
        assert np.dtype(given[name]["dtype"]) == (np.uint8 if value.dtype == np.uint8 else np.int16)
    expected = litert_cases.expected(model, x)
    assert signature == {"inputs": sorted(inputs), "outputs": sorted(expected)}
    for name, answer in litert_cases.run(tmp_path / "int16x8.tflite", inputs).items():
        assert np.abs(answer - expected[name]).max() <= TOLERANCE["int16x8"] * np.abs(expected[name]).max()
    assert entry["mean_difference"] < report["formats"]["int8"]["mean_difference"]


def test_raw_images_come_into_int16x8_without_a_loss(exported):
    """uint8 -> int8 -> int16: the first int16 tensor holds the very numbers of the image, times a scale."""
    folder, _, _ = exported
    path = folder / "int16x8.tflite"
    model, at_work = schema.unpack(path.read_bytes()), litert_cases.tensors_at_work(path, {"input": IMAGES})
    graph = model.subgraphs[0]
    first, second = [one for one in graph.operators if schema.operator_name(model, one) == "QUANTIZE"][:2]
    assert list(first.inputs) == list(graph.inputs)
    np.testing.assert_array_equal(at_work[first.outputs[0]].astype(int) + 128, IMAGES[:1])
    assert list(second.inputs) == list(first.outputs)
    (scale,) = graph.tensors[second.outputs[0]].quantization.scale
    np.testing.assert_allclose(at_work[second.outputs[0]] * scale, IMAGES[:1], atol=scale)


def test_a_float_operation_inside_int16x8_is_named(tmp_path):
    with pytest.raises(ExportError, match="int16x8: .*SIN"):
        export_model(built(Wavy), tmp_path, ["int16x8"], evaluation_data=DATA, verbose=0)


def test_a_mixed_precision_model_converts_to_int8_and_stays_mixed(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = built()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    report = export_model(model, tmp_path, ["float32", "int8"], evaluation_data=DATA, verbose=0)
    assert str(model.compute_dtype) == "float16"
    expected = np.abs(answers(model)).max()
    assert report["formats"]["float32"]["largest_difference"] <= 0.02 * expected
    assert report["formats"]["int8"]["largest_difference"] <= 0.1 * expected


@pytest.mark.parametrize("kind", ["litert_list", "litert_dict", "dataset_of_x", "dataset_of_pairs", "unbatched"])
def test_representative_data_in_every_form(tmp_path, kind):
    import tensorflow as tf

    forms = {
        "litert_list": lambda: ([IMAGES[i : i + 1]] for i in range(10)),
        "litert_dict": lambda: ({"input": IMAGES[i : i + 1]} for i in range(10)),
        "dataset_of_x": tf.data.Dataset.from_tensor_slices(IMAGES).batch(4),
        "dataset_of_pairs": tf.data.Dataset.from_tensor_slices(DATA).batch(4),
        "unbatched": tf.data.Dataset.from_tensor_slices(DATA),
    }
    report = export_model(
        built(), tmp_path, ["int8"], representative_dataset=forms[kind], evaluation_data=DATA, verbose=0
    )
    assert report["formats"]["int8"]["largest_difference"] < 0.5


@pytest.mark.either_keras
def test_a_file_that_the_interpreter_cannot_load_is_told(tmp_path):
    (tmp_path / "bad.tflite").write_bytes(b"bad")
    with pytest.raises(FormatError, match="the LiteRT interpreter cannot load the file"):
        litert.load(tmp_path / "bad.tflite", None, None)
