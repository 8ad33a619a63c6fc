"""A smaller model of Keras answers as the whole one, has what the files have, and trains on."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import shrink_model
from segopt_callbacks.channels import remove_channels
from segopt_callbacks.compat import keras
from segopt_callbacks.model import signature
from tests.conftest import IS_KERAS_2
from tests.export_zoo import zoo
from tests.shrinking.random_models import SIZE, draw, kill
from train_unet.unet import UNet


def answers(model, x):
    return [np.asarray(one) for one in tf.nest.flatten(model(x, training=False))]


def parameters_of_files(model):
    return remove_channels(signature.freeze(model, signature.input_specs(model)))[1].parameters


@pytest.fixture(scope="module")
def whole():
    """A model inside a model, and a layer that is not known."""
    layers, inputs = keras.layers, keras.Input((16, 16, 3))
    inner_inputs = keras.Input((None, None, 4))
    hidden = layers.LeakyReLU()(layers.Conv2D(8, 3, padding="same", name="inner")(inner_inputs))
    inner = keras.Model(inner_inputs, layers.Conv2D(4, 1, activation="relu", name="narrow")(hidden), name="inside")
    hidden = layers.Conv2D(6, 3, activation="relu", padding="same", name="first")(inner(layers.Conv2D(4, 1)(inputs)))
    hidden = layers.Lambda(lambda x: 2 * x, name="doubled")(layers.Conv2D(4, 1, name="before")(hidden))
    hidden = layers.Dense(5, activation="relu", name="rows")(layers.Flatten()(layers.MaxPooling2D(4)(hidden)))
    model = kill(keras.Model(inputs, layers.Dense(2, name="last")(hidden)), 0)
    inner = model.get_layer("inside").get_layer("inner")
    for layer in (inner, *map(model.get_layer, ("first", "before", "rows", "last"))):
        kernel, bias = layer.get_weights()
        dead = 0 if layer.name == "last" else 2
        layer.set_weights([np.where(np.arange(len(bias)) < dead, 0, 1 + kernel**2), np.zeros_like(bias)])
    return model


@pytest.fixture(scope="module")
def smaller(whole):
    return shrink_model(whole, verbose=0)


def test_it_answers_as_the_whole_model(whole, smaller):
    x = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype("float32")
    for one, other in zip(answers(smaller, x), answers(whole, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_layers_keep_their_names_and_lose_channels(whole, smaller):
    assert [layer.name for layer in smaller.layers] == [layer.name for layer in whole.layers]
    assert smaller.get_layer("first").filters == 4
    assert smaller.get_layer("rows").units == 3
    assert smaller.get_layer("inside").get_layer("inner").filters == 6
    assert smaller.count_params() == sum(int(np.prod(one.shape)) for one in smaller.weights) < whole.count_params()


def test_what_is_not_known_keeps_its_channels_and_is_named(whole, smaller, capsys):
    assert smaller.get_layer("before").filters == 4
    shrink_model(whole)
    told = capsys.readouterr().out
    assert f"parameters: {whole.count_params():,} before, {smaller.count_params():,} after" in told
    assert "doubled cannot be made again for fewer" in told


def test_training_goes_on_and_leaves_the_whole_model_alone(whole, smaller):
    before = [np.array(one) for one in whole.get_weights()]
    x, y = np.ones((2, 16, 16, 3), "float32"), np.ones((2, 2), "float32")
    smaller.compile("sgd", "mse")
    kernels = [np.array(one) for one in smaller.get_weights()]
    smaller.fit(x, y, verbose=0)
    assert any((one != other).any() for one, other in zip(smaller.get_weights(), kernels, strict=True))
    for one, other in zip(whole.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.either_keras
def test_it_is_as_small_as_the_files():
    model = kill(zoo(), 0)
    assert shrink_model(model, verbose=0).count_params() == parameters_of_files(model)[1] < model.count_params()


@pytest.mark.parametrize("seed", range(1 if IS_KERAS_2 else 12))
def test_a_random_model_answers_as_before(seed):
    model = draw(seed)
    smaller = shrink_model(model, verbose=0)
    x = np.random.default_rng(seed).normal(size=(2, SIZE, SIZE, 3)).astype("float32")
    for one, other in zip(answers(smaller, x), answers(model, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * max(1.0, np.abs(other).max()))
    assert smaller.count_params() >= parameters_of_files(model)[1]


@pytest.mark.either_keras
def test_a_sequential_model_that_is_compiled_with_a_loss_of_its_own():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
    model.layers[0].set_weights([np.eye(3, 4), np.zeros(4)])
    model.compile("sgd", lambda y_true, y_pred: y_pred)
    smaller = shrink_model(model, verbose=0)
    assert smaller.layers[0].units == 3
    assert model.compiled
    assert not smaller.compiled


def test_a_subclassed_model_is_refused_with_what_to_do_instead():
    model = UNet(3, 8, levels=2)
    model(np.zeros((1, 16, 16, 3), "float32"))
    with pytest.raises(ValueError, match="functional or sequential.*export_model"):
        shrink_model(model)
