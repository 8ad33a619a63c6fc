"""Layers of any floating type are exported as what they compute, and stay as they are."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.model.signature import freeze, input_specs

TOLERANCE = {"float16": 8e-3, "bfloat16": 3e-2, "float64": 1e-5}  # of the type itself, relative to the largest answer
X = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")


class Listed(keras.layers.Layer):
    """Holds its variables in a list, as people do."""

    def build(self, input_shape):
        self.scales = [self.add_weight(name=f"scale_{one}", shape=(input_shape[-1],)) for one in range(2)]

    def call(self, inputs):
        return (inputs * self.scales[0] + 1.0) * self.scales[1]


LAYERS = {
    "conv": lambda dtype: keras.layers.Conv2D(8, 3, padding="same", dtype=dtype),
    "normalized": lambda dtype: keras.layers.BatchNormalization(dtype=dtype),
    "separable": lambda dtype: keras.layers.SeparableConv2D(8, 3, padding="same", dtype=dtype),
    "depthwise": lambda dtype: keras.layers.DepthwiseConv2D(3, padding="same", dtype=dtype),
    "transposed": lambda dtype: keras.layers.Conv2DTranspose(8, 3, padding="same", dtype=dtype),
    "layer_normalized": lambda dtype: keras.layers.LayerNormalization(dtype=dtype),
    "listed": lambda dtype: Listed(dtype=dtype),
    # TensorFlow cannot draw the orthogonal matrices of the default in bfloat16.
    "recurrent": lambda dtype: keras.layers.ConvLSTM1D(4, 3, recurrent_initializer="glorot_uniform", dtype=dtype),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_what_is_frozen_computes_in_float32_what_the_model_does(dtype, name):
    inputs = keras.Input((16, 16, 3))
    hidden = LAYERS[name](dtype)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="float32")(hidden))
    before = [(str(one.dtype), compat.read(one)) for one in model.weights]
    policies = [str(layer.compute_dtype) for layer in compat.all_layers(model)]
    want = np.asarray(model(X[:1]), "float32")
    frozen = freeze(model, input_specs(model))
    operations = frozen.serve.graph.as_graph_def()
    others = {tf.as_dtype(name).as_datatype_enum for name in ("float16", "bfloat16", "float64")}
    # Variables are cast where they are read; nothing computes in their dtype.
    assert [one.op for one in operations.node if one.op != "Identity" and one.attr["T"].type in others] == []
    (answer,) = frozen.serve(tf.constant(X[:1])).values()
    assert np.abs(answer - want).max() <= TOLERANCE[dtype] * max(1.0, np.abs(want).max())
    assert set(frozen.weights) == {compat.variable_path(one) for one in model.weights}
    assert policies == [str(layer.compute_dtype) for layer in compat.all_layers(model)]
    for (kind, value), weight in zip(before, model.weights, strict=True):
        assert str(weight.dtype) == kind
        np.testing.assert_array_equal(compat.read(weight), value)
    np.testing.assert_array_equal(np.asarray(model(X[:1]), "float32"), want)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_layers_of_other_types_fit_and_are_exported(tmp_path, dtype):
    inputs = keras.Input((16, 16, 3))
    hidden = keras.layers.Conv2D(16, 3, dtype=dtype, name="odd")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1, dtype="float32", name="head")(hidden))
    y = np.zeros((8, 14, 14), "int32")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, y, verbose=0)
    formats = ["saved_model", "float32", "int8", "onnx"]
    report = export_model(model, tmp_path, formats, evaluation_data=(X, y), latency=False, verbose=0)
    for name in ("saved_model", "float32", "onnx"):
        assert report["formats"][name]["relative_difference"] < 2 * TOLERANCE[dtype]
    assert str(model.get_layer("odd").weights[0].dtype).endswith(dtype) or dtype in str(
        model.get_layer("odd").weights[0].dtype
    )
    model.fit(X, y, verbose=0)


class Stubborn(keras.Model):
    """Computes in float64 by itself, so that none of it runs in float32."""

    def __init__(self):
        super().__init__(dtype="float64")
        self.dense = keras.layers.Dense(2, dtype="float64")

    def call(self, inputs):
        return self.dense(inputs) + tf.constant(1.0, tf.float64)


def test_what_does_not_run_in_float32_is_exported_as_it_is(tmp_path):
    model, x = Stubborn(), X.reshape(8, -1)[:, :4].astype("float64")
    model(x)
    export_model(model, tmp_path, ["saved_model"], evaluation_data=(x, x), latency=False, verbose=0)
    signature = (loaded := tf.saved_model.load(str(tmp_path / "saved_model"))).signatures["serving_default"]
    (answer,) = signature(tf.constant(x, tf.float32)).values()
    np.testing.assert_allclose(answer, model(x), rtol=1e-5, atol=1e-5)
    assert loaded
