import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks.export.litert import schema
from segopt_callbacks.export.litert.flatbuffer import float_operations
from segopt_callbacks.export.litert.raw_inputs import take_raw_integers
from segopt_callbacks.model.signature import freeze, input_specs
from tests.export_models import IMAGES, Wavy, built


def converted(model, *, is_integer=True):
    frozen = freeze(model, input_specs(model, IMAGES))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen.serve], frozen.module)
    if is_integer:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in IMAGES)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def run(content):
    opened = Interpreter(model_content=content)
    opened.allocate_tensors()
    runner = opened.get_signature_runner()
    return np.concatenate([runner(input=image[np.newaxis])["output"] for image in IMAGES])


pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning")


def test_the_cast_of_raw_inputs_goes_and_the_answers_stay(tmp_path):
    before = converted(built())
    after = take_raw_integers(before)
    np.testing.assert_array_equal(run(after), run(before))
    path = tmp_path / "before.tflite"
    path.write_bytes(before)
    (cast,) = float_operations(path)
    assert cast.startswith("CAST (")
    path.write_bytes(after)
    assert float_operations(path) == []


def test_a_file_without_such_a_cast_stays_as_it_is():
    content = converted(built(), is_integer=False)
    assert take_raw_integers(content) == content


def test_rewritten_data_stand_at_multiples_of_16_bytes():
    content = take_raw_integers(converted(built()))
    model = schema.unpack(content)
    stored = [np.asarray(one.data, np.uint8).tobytes() for one in model.buffers if one.data is not None]
    large = [one for one in stored if len(one) >= 64]
    assert large
    assert [content.find(one) % 16 for one in large] == [0] * len(large)


def test_pack_is_the_other_way_round_of_unpack():
    content = converted(built())
    np.testing.assert_array_equal(run(schema.pack(schema.unpack(content))), run(content))


def test_float_operations_are_named(tmp_path):
    path = tmp_path / "int8.tflite"
    path.write_bytes(converted(built(Wavy)))
    assert any(one.startswith("SIN (") for one in float_operations(path))
