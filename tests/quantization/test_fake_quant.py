"""Rounded tensors, against NumPy and against tfmot."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from segopt_callbacks.quantization.calibration import rounded
from segopt_callbacks.quantization.fake_quant import extremes, quantized_activation, quantized_weight

pytestmark = pytest.mark.either_keras
kernels = npst.arrays(
    np.float32, npst.array_shapes(min_dims=2, max_dims=4, max_side=5), elements=st.floats(-8, 8, width=32)
)


@settings(deadline=None, max_examples=60)
@given(kernel=kernels, bits=st.sampled_from([4, 8]))
def test_a_kernel_lies_on_the_steps_of_each_channel(kernel, bits):
    levels = 2 ** (bits - 1) - 1
    result = quantized_weight(kernel, (-1,), bits).numpy()
    for channel, values in enumerate(np.moveaxis(kernel, -1, 0)):
        scale = np.float32(np.abs(values).max() / levels)
        found = result[..., channel]
        assert np.abs(found - values).max() <= scale / 2 * 1.001 + 1e-6
        assert (found[values == 0] == 0).all()
        if scale > 1e-6:
            np.testing.assert_allclose(found / scale, np.round(found / scale), atol=1e-3)
            assert np.unique(np.round(found / scale)).size <= 2 * levels + 1


def test_channels_may_have_two_axes():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 2)).astype("float32")
    result = quantized_weight(kernel, (-2, -1)).numpy()
    expected = quantized_weight(kernel.reshape(3, 3, 8), (-1,)).numpy().reshape(kernel.shape)
    np.testing.assert_array_equal(result, expected)


def test_scaling_a_channel_scales_its_result():
    """So a kernel need not be folded with the normalisation behind it to be rounded as it will be stored."""
    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 3, 4, 6)).astype("float32")
    scales = (2.0 ** random.integers(-4, 5, 6) * random.choice([-1, 1], 6)).astype("float32")
    np.testing.assert_array_equal(
        quantized_weight(kernel * scales, (-1,)).numpy(), quantized_weight(kernel, (-1,)).numpy() * scales
    )


def test_the_gradient_of_a_kernel_passes_straight_through():
    kernel = tf.Variable(np.random.default_rng(0).normal(size=(4, 3)).astype("float32"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantized_weight(kernel, (-1,), 4) * 3.0)
    np.testing.assert_array_equal(tape.gradient(loss, kernel), np.full((4, 3), 3.0))


@settings(deadline=None, max_examples=60)
@given(
    values=npst.arrays(np.float32, 20, elements=st.floats(-50, 50, width=32)),
    low=st.floats(-20, 0, width=32),
    high=st.floats(0.5, 20, width=32),
)
def test_a_tensor_lies_on_256_steps_one_of_which_is_zero(values, low, high):
    result = quantized_activation(tf.constant(values), low, high).numpy()
    step = (high - low) / 255
    np.testing.assert_allclose(result, rounded(values.astype(np.float64), low, high), atol=step * 1.01)
    np.testing.assert_allclose(result / step, np.round(result / step), atol=1e-2)


def test_tfmot_rounds_kernels_alike():
    import tf_keras
    from tensorflow_model_optimization.quantization.keras import quantizers

    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 6)).astype("float32")
    quantizer = quantizers.LastValueQuantizer(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)
    layer = tf_keras.layers.Layer()
    weights = quantizer.build(tf.TensorShape(kernel.shape), "kernel", layer)
    theirs = quantizer(tf.constant(kernel), True, weights=weights)
    np.testing.assert_allclose(quantized_weight(kernel, (-1,)), theirs, atol=1e-6)


@pytest.mark.parametrize("dtype", [tf.float16, tf.float32, tf.bfloat16])
def test_dtypes_stay(dtype):
    values = tf.cast([[0.1, -2.0], [3.0, 0.5]], dtype)
    assert quantized_weight(values, (-1,)).dtype == dtype
    assert quantized_activation(values, -2.0, 3.0).dtype == dtype
    assert [one.dtype for one in extremes(values)] == [tf.float32] * 2


def test_extremes_hold_zero():
    assert [float(one) for one in extremes(tf.constant([2.0, 3.0]))] == [0.0, 3.0]
    assert [float(one) for one in extremes(tf.constant([-2.0, -3.0]))] == [-3.0, 0.0]
