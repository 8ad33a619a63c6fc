"""Tables of embeddings are left out whatever they are called; a matrix that is multiplied stays in."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks.compat import keras
from segopt_callbacks.model import select_weights


class Table(keras.layers.Layer):
    """As Hugging Face's TensorFlow models have theirs: `word_embeddings/weight`, gathered."""

    def __init__(self, *, tied=False, **kwargs):
        super().__init__(**kwargs)
        self.tied = tied

    def build(self, input_shape):
        self.weight = self.add_weight(name="weight", shape=(12, 4), initializer="glorot_uniform")

    def call(self, inputs):
        rows = tf.gather(tf.convert_to_tensor(self.weight), inputs)
        return tf.matmul(rows, tf.convert_to_tensor(self.weight), transpose_b=True) if self.tied else rows

    def compute_output_shape(self, shape):
        return (*shape, 12 if self.tied else 4)


class Matrix(keras.layers.Layer):
    """A kernel that is not called so."""

    def build(self, input_shape):
        self.weight = self.add_weight(name="weight", shape=(input_shape[-1], 4), initializer="glorot_uniform")

    def call(self, inputs):
        return tf.matmul(inputs, tf.convert_to_tensor(self.weight))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)


@pytest.mark.parametrize(("tied", "expected"), [(False, 2), (True, 3)])
def test_what_is_only_gathered_is_no_kernel(tied, expected):
    layers = [Table(tied=tied, name="words"), Matrix(name="matrix"), keras.layers.Dense(2, name="dense")]
    model = keras.Sequential([keras.Input((5,), dtype="int32"), *layers])
    model(np.zeros((1, 5), "int32"))
    chosen = select_weights(model)
    assert len(chosen) == expected
    assert any("words" in path for path in chosen) == tied
    assert any("matrix" in path for path in chosen)
