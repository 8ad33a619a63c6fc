"""Every LiteRT file, opened and run here by the interpreter itself, not by the library's own loader."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks import export_model
from segopt_callbacks.compat import keras
from tests.export_models import DATA, IMAGES, LABELS, answers, built, functional

LITERT = ("float32", "float16", "dynamic_int8", "int8")
# Largest difference of a logit, as a fraction of the largest logit.
TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "dynamic_int8": 0.1, "int8": 0.1}


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
    if name == "int8":
        assert taken["dtype"] is np.int8
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
    assert dtypes["int8"] == {"int8"}


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


def test_float_images_go_into_int8_by_scale_and_zero_point(tmp_path):
    images = np.random.default_rng(0).normal(size=(10, 16, 16, 3)).astype("float32")
    model = built(functional, images)
    report = export_model(model, tmp_path, ["int8"], evaluation_data=(images, LABELS), verbose=0)
    (given,) = Interpreter(model_path=str(tmp_path / "int8.tflite")).get_input_details()
    assert given["dtype"] is np.int8
    assert report["formats"]["int8"]["largest_difference"] <= 0.1 * np.abs(answers(model, images)).max()


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
