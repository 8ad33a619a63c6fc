"""Inputs and outputs are called as the user has called them, in every format, by its own runtime's account."""

import json

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.compat import keras
from segopt_callbacks.export import export_model
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.tvm.library import LIBRARY
from segopt_callbacks.model.names import input_names, output_names
from segopt_callbacks.model.signature import freeze, input_specs

SPEC = tf.TensorSpec((1, 4), tf.float32)
LEFT, RIGHT = (np.random.default_rng(seed).uniform(size=(3, 4)).astype("float32") for seed in (0, 1))


def named(model, example=None):
    frozen = freeze(model, input_specs(model, example))
    return [port.name for port in frozen.inputs], [port.name for port in frozen.outputs]


def test_the_names_of_layers_are_kept_and_those_that_keras_makes_up_are_not():
    image = keras.Input((4,), name="image")
    depth = keras.Input((4,))
    together = keras.layers.Concatenate()([image, depth])
    outputs = [keras.layers.Dense(2, name="classes")(together), keras.layers.Dense(3)(together), together + 1.0]
    assert named(keras.Model([image, depth], outputs)) == (["image", "input_1"], ["classes", "output_1", "output_2"])


def test_a_model_of_one_input_and_output_without_names_has_plain_ones():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    wrapped = keras.Sequential([keras.Input((4,)), model])
    for one in (model, wrapped, keras.models.clone_model(keras.Model(model.inputs, model(model.inputs[0])))):
        assert named(one) == (["input"], ["output"])
    assert named(keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, name="y")])) == (["x"], ["y"])


def test_keys_come_before_names_of_layers_and_name_what_a_subclassed_model_takes_and_gives():
    class TwoEyes(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(2)

        def call(self, eyes):
            return {"both": self.head(eyes["left eye"] + eyes["right"]), "right": (eyes["right"], eyes["right"] * 2)}

    model = TwoEyes()
    example = {"right": RIGHT[:1], "left eye": LEFT[:1]}
    model(example)
    assert named(model, example) == (["left_eye", "right"], ["both", "right_0", "right_1"])


@pytest.mark.either_keras
def test_every_name_is_an_identifier_and_there_is_no_second_of_it():
    assert input_names([SPEC] * 4, ["a b", "a/b", None, "self"]) == ("a_b", "a_b_1", "input_2", "self_1")
    assert input_names([SPEC, SPEC], ["Image", "image"]) == ("Image", "image_1")
    assert input_names([SPEC, SPEC], ["input_1", None]) == ("input_1", "input_1_1")
    assert input_names(tf.TensorSpec((1,), tf.float32, name="mine"), ["image"]) == ("mine",)
    assert output_names([1, 2], ["image", "2nd"], taken=["image"]) == ("image_output", "output_2nd")
    assert output_names({"a": {"b": 1, "c": [2, 3]}}) == ("a_b", "a_c_0", "a_c_1")


def _saved_model(path):
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return list(signature.structured_input_signature[1]), list(signature.structured_outputs)


def _litert(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    (signature,) = interpreter.get_signature_list().values()
    # A tensor's own name may carry the signature's (`serving_default_image:0`); outputs are told by the signature only.
    runner = interpreter.get_signature_runner()
    for name, detail in runner.get_input_details().items():
        assert name in detail["name"]
    return signature["inputs"], signature["outputs"]


def _onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [one.name for one in session.get_inputs()], [one.name for one in session.get_outputs()]


def _openvino(path):
    import openvino

    model = openvino.Core().read_model(path if path.suffix == ".onnx" else path / "model.xml")
    names = [[name for one in ports for name in one.get_names()] for ports in (model.inputs, model.outputs)]
    return names[0], names[1]


def _tvm(path):
    """TVM calls parameters by place; their names are told beside the library, and each must fit its place."""
    import tvm

    signature = json.loads((path / "signature.json").read_text())
    run = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(path / LIBRARY)), tvm.cpu())["main"]
    inputs = [tvm.runtime.tensor(np.zeros(port["shape"], port["dtype"])) for port in signature["inputs"]]
    assert [answer.shape[-1] for answer in run(*inputs)] == [port["shape"][-1] for port in signature["outputs"]]
    return [port["name"] for port in signature["inputs"]], [port["name"] for port in signature["outputs"]]


READERS = {
    ".tflite": [_litert],
    ".onnx": [_onnx, _openvino],
    "saved_model": [_saved_model],
    "openvino_int8": [_openvino],
    "tvm": [_tvm],
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    left, right = keras.Input((4,), name="left eye"), keras.Input((4,), name="Right")
    together = keras.layers.Concatenate()([left, right])
    outputs = [keras.layers.Dense(2, name="classes")(together), keras.layers.Dense(3, name="left_eye")(together)]
    model = keras.Model([left, right], outputs)
    data = tf.data.Dataset.from_tensor_slices(((LEFT, RIGHT), np.zeros(3))).batch(3)
    formats = [name for name in TARGETS if name not in UNNAMED]
    report = export_model(model, folder, formats, evaluation_data=data, verbose=0)
    assert compat.given_names(model, "inputs") == ["left eye", "Right"]
    return folder, report


# Each is made from the same conversion as another one: float32, int8 or onnx_int8.
UNNAMED = ("float16", "dynamic_int8", "weight_only_int8", "int16x8", "tensorrt", "tflm_lut", "ethos_u")


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in UNNAMED])
def test_the_names_are_in_every_file(name, exported):
    path = exported[0] / TARGETS[name].file_name
    readers = READERS[path.suffix or path.name]
    for read in readers:
        inputs, outputs = read(path)
        assert sorted(inputs) == ["Right", "left_eye"], read.__name__
        assert sorted(outputs) == ["classes", "left_eye_output"], read.__name__
