import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.compat import keras
from segopt_callbacks.model.signature import freeze, input_specs
from segopt_callbacks.records.ports import Port
from tests.export_models import DATA, IMAGES, Segmenter, answers, built, functional, state


def serve(frozen, images):
    ((name, _, _),) = map(dataclasses.astuple, frozen.outputs)
    return np.concatenate([frozen.serve(tf.constant(images[i : i + 1]))[name].numpy() for i in range(len(images))])


def test_uint8_images_stay_uint8_one_at_a_time():
    model = built()
    frozen = freeze(model, input_specs(model, IMAGES[:1]))
    assert frozen.inputs == (Port("input", (1, 16, 16, 3), "uint8"),)
    assert frozen.outputs == (Port("output", (1, 16, 16, 3), "float32"),)
    np.testing.assert_allclose(serve(frozen, IMAGES), answers(model), atol=1e-5)


def test_a_functional_model_knows_its_input_itself():
    model = built(functional, IMAGES.astype("float32"))
    frozen = freeze(model, input_specs(model))
    images = IMAGES.astype("float32")
    np.testing.assert_allclose(serve(frozen, images), answers(model, images), rtol=1e-4, atol=1e-4)


def test_a_model_of_any_image_size_takes_it_from_the_data_or_says_how_to_tell():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))
    with pytest.raises(ValueError, match="pass `evaluation_data`"):
        input_specs(model)
    assert input_specs(model, np.zeros((1, 8, 8, 3), "float32")).shape.as_list() == [None, 8, 8, 3]


def test_a_model_without_weights_is_refused():
    with pytest.raises(ValueError, match="must be built to be exported"):
        input_specs(Segmenter(), IMAGES[:1])


def test_dropout_and_moving_averages_are_those_of_inference():
    model = built()
    frozen = freeze(model, input_specs(model, IMAGES[:1]))
    before = state(model)
    assert np.array_equal(serve(frozen, IMAGES), serve(frozen, IMAGES))
    assert all(np.array_equal(one, other) for one, other in zip(before, state(model), strict=True))


def test_a_mixed_precision_model_is_frozen_in_float32_and_stays_mixed():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = built()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    policies = [str(layer.compute_dtype) for layer in compat.all_layers(model)]
    frozen = freeze(model, input_specs(model, IMAGES[:1]))
    concrete = frozen.serve
    operations = [*concrete.graph.get_operations()]
    operations += [
        one for name in concrete.graph._functions for one in concrete.graph._functions[name].graph.get_operations()
    ]
    assert not any(tensor.dtype == tf.float16 for operation in operations for tensor in operation.outputs)
    assert [str(layer.compute_dtype) for layer in compat.all_layers(model)] == policies
    assert "float16" in policies
    np.testing.assert_allclose(serve(frozen, IMAGES), answers(model), atol=0.02)


def test_the_model_trains_on_as_if_it_had_not_been_frozen():
    def losses(is_frozen):
        keras.utils.set_random_seed(1)
        model = built()
        if is_frozen:
            freeze(model, input_specs(model, IMAGES[:1]))
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        keras.utils.set_random_seed(2)
        return model.fit(*DATA, epochs=2, batch_size=5, shuffle=False, verbose=0).history["loss"]

    assert losses(True) == pytest.approx(losses(False))


def test_every_variable_is_held_once_under_the_models_own_path():
    model = built()
    frozen = freeze(model, input_specs(model, IMAGES[:1]))
    assert set(frozen.weights) == {
        compat.variable_path(weight) for weight in model.weights if weight.dtype != "int64"
    } - {path for path in map(compat.variable_path, model.weights) if "seed" in path}
    assert len({id(variable) for variable in frozen.weights.values()}) == len(frozen.weights)
