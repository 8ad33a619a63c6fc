import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks.fit.marks import pruned_before
from segopt_callbacks.fit.projections import Composed
from segopt_callbacks.pruning.masked import Masked


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("how", ["eager", "graph", "jit"])
def test_a_pruned_weight_is_told_from_a_kept_zero(dtype, how):
    tf.zeros((), dtype)  # TensorFlow keeps this tensor, and would hand it out for -0.0 as well
    masked = Masked((3,))
    masked.mask = np.array([True, False, True])
    weight = tf.constant([-2.0, -2.0, 2.0], dtype)
    projection = Composed(lambda one: one * tf.cast(one >= 0, one.dtype), masked)  # as NonNeg does: -2.0 -> -0.0
    if how != "eager":
        projection = tf.function(projection, jit_compile=how == "jit")
    projected = projection(weight).numpy()
    assert projected.tolist() == [0, 0, 2]
    assert pruned_before(projected).tolist() == [False, True, False]
