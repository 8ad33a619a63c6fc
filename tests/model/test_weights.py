import numpy as np
import pytest

from segopt_callbacks import compat
from segopt_callbacks.compat import keras
from segopt_callbacks.model.paths import unique_path
from segopt_callbacks.model.weights import select_weights
from tests.conformance import Outer, Segmenter, built, functional


class Own(keras.layers.Layer):
    """A weight that belongs to no layer of Keras."""

    def build(self, input_shape):
        self.mixing = self.add_weight(name="mixing", shape=(input_shape[-1], 4), initializer="ones")
        self.shift = self.add_weight(name="shift", shape=(4,), initializer="zeros")

    def call(self, inputs):
        return inputs @ self.mixing + self.shift


def test_every_trainable_weight_of_rank_two_and_more():
    model = built(Outer)()
    expected = [id(weight) for weight in model.trainable_weights if len(weight.shape) >= 2]
    assert [id(weight) for weight in select_weights(model).values()] == expected
    assert any("depthwise" in path for path in select_weights(model))


def test_weights_of_custom_layers_and_recurrent_kernels():
    model = keras.Sequential([keras.layers.LSTM(4), Own()])
    model(np.zeros((1, 5, 3), "float32"))
    assert [path.rpartition("/")[2] for path in select_weights(model)] == ["kernel", "recurrent_kernel", "mixing"]


def test_a_regex_narrows_a_list_widens():
    model = functional()
    first, second = model.layers[1].name, model.layers[2].name
    assert [path.partition("/")[0] for path in select_weights(model, f"{second}/")] == [second]
    assert len(select_weights(model, [f"{first}/", f"{second}/kernel"])) == 2
    with pytest.raises(ValueError, match="must match a weight"):
        select_weights(model, [f"{first}/", "bias"])


def test_a_predicate_sees_every_trainable_weight():
    model = functional()
    assert len(select_weights(model, lambda weight: len(weight.shape) == 1)) == 2


def test_paths_are_unique_where_names_are_not():
    model = built(Segmenter)()
    selected = select_weights(model)
    assert len(selected) == sum(len(weight.shape) >= 2 for weight in model.trainable_weights)
    assert unique_path("a", {"a", "a#2"}) == "a#3"
    assert all(compat.variable_path(weight) == path.partition("#")[0] for path, weight in selected.items())
