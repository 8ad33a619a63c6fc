"""Sizes and dtypes that the user says: open sizes stay open in the files, by their own runtimes' account."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks import ExportQuantizedCallback, export_model, read_metadata
from segopt_callbacks.export import ExportError
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.model.input_signature import validate_input_signature
from tests.export_models import DATA, IMAGES, answers, built, fitted, functional

OPEN = [name for name, target in TARGETS.items() if target.open_sizes]
FIXED = [name for name in TARGETS if name not in OPEN]
ANY_IMAGES = tf.TensorSpec((None, None, None, 3), tf.uint8)
random = np.random.default_rng(0)
SIZES = (16, 16), (24, 8), (10, 12)
BATCHES = [random.integers(0, 256, (2, *size, 3), dtype=np.uint8) for size in SIZES]
OTHER = random.integers(0, 256, (3, 20, 36, 3), dtype=np.uint8)  # of a size that no export has seen


def images_of_all_sizes():
    data = tf.data.Dataset.from_generator(
        lambda: ((batch, np.zeros(2)) for batch in BATCHES),
        output_signature=(ANY_IMAGES, tf.TensorSpec((None,), tf.float64)),
    )
    return data.apply(tf.data.experimental.assert_cardinality(len(BATCHES)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("sizes"), built()
    data = images_of_all_sizes()
    classes = {"classes": ["a", "b", "c"]}  # else nobody knows that the last axis is one of classes
    report = export_model(
        model, folder, OPEN, evaluation_data=data, input_signature=ANY_IMAGES, metadata=classes, verbose=0
    )
    return folder, report, answers(model, OTHER)


@pytest.mark.either_keras
@pytest.mark.parametrize("name", OPEN)
def test_files_of_open_sizes_are_run_on_every_size_of_the_data(name, exported):
    folder, report, _ = exported
    assert report["verification"]["examples"] == 6
    assert report["formats"][name]["equal_argmax"] > (0.8 if name == "int4" else 0.95)
    for port in ("inputs", "outputs"):
        assert read_metadata(folder / TARGETS[name].file_name)[port][0]["shape"] == [None, None, None, 3]


def litert(path):
    interpreter = Interpreter(str(path))
    (detail,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(detail["index"], OTHER.shape, strict=True)  # strict: open sizes only
    answer = interpreter.get_signature_runner()(input=OTHER)["output"]
    (output,) = interpreter.get_output_details()
    scale, zero_point = output["quantization"]
    return detail["shape_signature"].tolist(), (answer.astype("float32") - zero_point) * scale if scale else answer


def onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shape = [size if isinstance(size, int) else -1 for size in session.get_inputs()[0].shape]
    return shape, session.run(["output"], {"input": OTHER})[0]


def saved_model(path):
    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    shape = serve.structured_input_signature[1]["input"].shape
    return [-1 if size is None else size for size in shape], serve(tf.constant(OTHER))["output"].numpy()


@pytest.mark.either_keras
@pytest.mark.parametrize("name", OPEN)
def test_their_own_runtimes_take_another_size_and_batch_at_once(name, exported):
    folder, _, expected = exported
    path = folder / TARGETS[name].file_name
    run = {".tflite": litert, ".onnx": onnx}.get(path.suffix, saved_model)
    shape, answer = run(path)
    assert shape == [-1, -1, -1, 3]
    assert np.abs(answer - expected).max() <= (0.3 if name == "int4" else 0.1) * np.abs(expected).max()


def test_a_batch_of_one_and_images_of_any_size(tmp_path):
    """Under both Kerases; one example at a time is a tenth faster."""
    spec = tf.TensorSpec((1, None, None, 3), tf.uint8)
    export = ExportQuantizedCallback(
        tmp_path,
        ["saved_model", "float32", "int8"],
        evaluation_data=images_of_all_sizes(),
        input_signature=spec,
        verbose=0,
    )
    fitted(built(), export)
    for name in ("float32", "int8"):
        (detail,) = Interpreter(str(tmp_path / f"{name}.tflite")).get_input_details()
        assert detail["shape_signature"].tolist() == [1, -1, -1, 3]
        assert export.report["formats"][name]["equal_argmax"] > 0.95


@pytest.mark.either_keras
@pytest.mark.parametrize("name", FIXED)
def test_a_format_that_cannot_says_what_to_do(name, tmp_path):
    arguments = {"evaluation_data": images_of_all_sizes(), "input_signature": ANY_IMAGES, "verbose": 0}
    with pytest.raises(ExportError, match=rf"{name}: this format must know every size .* give `input_signature` all"):
        export_model(built(), tmp_path, [name], **arguments)


def test_other_dtypes_and_names_than_those_of_the_data(tmp_path):
    spec = tf.TensorSpec((1, 16, 16, 3), tf.float32, name="photo")
    export_model(built(), tmp_path, ["float32"], evaluation_data=DATA, input_signature=spec, verbose=0)
    (detail,) = Interpreter(str(tmp_path / "float32.tflite")).get_input_details()
    assert (detail["dtype"], detail["shape_signature"].tolist()) == (np.float32, [1, 16, 16, 3])
    assert read_metadata(tmp_path / "float32.tflite")["inputs"][0]["name"] == "photo"


def test_a_model_of_one_size_refuses_others_by_name(tmp_path):
    model = built(functional, IMAGES.astype("float32"))
    spec = tf.TensorSpec((1, 16, 17, 3), tf.float32)
    with pytest.raises(ExportError, match="float32: the model does not run as a graph"):
        export_model(model, tmp_path, ["float32"], input_signature=spec, verbose=0)


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ([], "must be made of tf.TensorSpec"),
        ((1, 16, 16, 3), "must be made of tf.TensorSpec"),
        (tf.TensorSpec((2, 4), tf.float32), "must have the batch as the first size"),
        (tf.TensorSpec((), tf.float32), "must have the batch as the first size"),
        ([tf.TensorSpec((1, 4), tf.float32), tf.TensorSpec((None, 4), tf.float32)], "all 1, or all None"),
        (tf.TensorSpec((1, 4), tf.float16), "must be of float32 and integers"),
    ],
)
def test_a_signature_that_no_file_can_have_is_refused(signature, message):
    with pytest.raises(ValueError, match=message):
        validate_input_signature(signature)


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("signature", "data", "message"),
    [
        (ANY_IMAGES, None, "Files of open sizes must be run on data"),
        (tf.TensorSpec((1, 16, 17, 3), tf.uint8), DATA, "must have the structure and the sizes of the data"),
        ({"image": ANY_IMAGES}, DATA, "must have the structure and the sizes of the data"),
    ],
)
def test_a_signature_that_does_not_fit_the_data_is_refused(signature, data, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_model(built(), tmp_path, ["float32"], evaluation_data=data, input_signature=signature, verbose=0)
