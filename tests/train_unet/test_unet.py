"""The U-Net: built, saved, served and converted alike under both Kerases."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks.compat import keras, variable_path
from train_unet.blocks import ConvBlock, DecoderBlock, EncoderBlock, Standardize
from train_unet.normalization import FusedBatchNormalization
from train_unet.unet import UNet

UPSAMPLINGS = pytest.mark.parametrize("upsampling", ["bilinear", "transposed"])


def small(**arguments):
    return UNet(**{"classes": 3, "base_filters": 8, "levels": 3, **arguments})


def images(count=2, size=(32, 32)):
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)


def reference_standardized(x):
    return (np.sqrt(x / 255.0) - 0.42) / 0.2


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32"])
def test_images_are_standardized_inside(dtype):
    every = np.arange(256).reshape(1, 16, 16, 1)
    np.testing.assert_allclose(Standardize()(every.astype(dtype)), reference_standardized(every), atol=1e-6)


def test_bytes_and_floats_give_the_same_answer():
    model, x = small(), images()
    np.testing.assert_allclose(model(x), model(x.astype("float32")), atol=1e-5)


def test_the_weights_are_those_of_the_paper_with_batch_norm():
    def convs(inner, filters):  # two 3x3 convolutions, each with scale, offset, mean and variance
        return 9 * inner * filters + 4 * filters + 9 * filters * filters + 4 * filters

    model = UNet(4)
    model.build((None, 128, 128, 3))
    down = convs(3, 16) + convs(16, 32) + convs(32, 64) + convs(64, 128)
    up = convs(128 + 64, 64) + convs(64 + 32, 32) + convs(32 + 16, 16)
    assert model.count_params() == down + up + (16 * 4 + 4)


@UPSAMPLINGS
def test_build_makes_every_variable_under_the_same_name_as_a_call(upsampling):
    built, called = small(upsampling=upsampling), small(upsampling=upsampling)
    built.build((None, None, None, 3))
    names = [variable_path(weight) for weight in built.weights]
    called(images())
    assert names == [variable_path(weight) for weight in called.weights]
    assert names == [variable_path(weight) for weight in built.weights]
    assert len(set(names)) == len(names)
    assert "unet/encoder_0/convs/conv_1/kernel" in names
    built(images())
    assert len(built.weights) == len(names)


def test_fit_builds_it_under_the_same_names():
    model, built = small(), small()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images(), np.zeros((2, 32, 32), np.uint8), verbose=0)
    built.build((None, 32, 32, 3))
    assert [variable_path(one) for one in model.weights] == [variable_path(one) for one in built.weights]


@UPSAMPLINGS
def test_output_keeps_the_size_of_the_image(upsampling):
    assert tuple(small(upsampling=upsampling)(images(size=(16, 48))).shape) == (2, 16, 48, 3)


def test_every_pixel_sees_its_neighbourhood_and_every_level():
    model, x = small(), images(1)
    changed = x.copy()
    changed[0, 16, 16] = 255 - changed[0, 16, 16]
    different = np.abs(model(x) - model(changed)).max(axis=-1)[0] > 0
    # Two 3x3 convolutions at full size reach 2 pixels on either side; only the lower levels reach further.
    assert different[16, 16]
    assert different[:12].any()
    assert different[21:].any()


def test_batch_norm_follows_training_and_rests_in_inference():
    model, x = small(), images()
    model(x)
    before = [np.array(weight) for weight in model.non_trainable_weights]
    model(x, training=False)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.non_trainable_weights, strict=True))
    model(x, training=True)
    assert not any(np.array_equal(a, b) for a, b in zip(before, model.non_trainable_weights, strict=True))


@UPSAMPLINGS
def test_config_makes_it_again(upsampling):
    config = small(upsampling=upsampling, growth=3, name="net").get_config()
    again = UNet.from_config(config)
    assert (again.classes, again.base_filters, again.levels, again.growth, again.upsampling) == (3, 8, 3, 3, upsampling)
    assert again.name == "net"
    assert again.get_config() == config


@pytest.mark.parametrize("block", [ConvBlock(8), EncoderBlock(8), DecoderBlock(8, "transposed"), Standardize()])
def test_config_makes_each_block_again(block):
    config = block.get_config()
    assert type(block).from_config(config).get_config() == config


@UPSAMPLINGS
@pytest.mark.parametrize("build", ["build", "call"])
def test_saved_and_loaded(tmp_path, upsampling, build):
    model, x = small(upsampling=upsampling), images()
    model.build((None, 32, 32, 3)) if build == "build" else model(x)
    model.save(tmp_path / "unet.keras")
    loaded = keras.models.load_model(tmp_path / "unet.keras")
    assert type(loaded) is UNet
    np.testing.assert_array_equal(model(x), loaded(x))


def test_weights_alone_saved_and_loaded(tmp_path):
    model, other, x = small(), small(), images()
    for one in (model, other):
        one.build((None, 32, 32, 3))
    assert np.any(np.not_equal(model(x), other(x)))
    model.save_weights(tmp_path / "unet.weights.h5")
    other.load_weights(tmp_path / "unet.weights.h5")
    np.testing.assert_array_equal(model(x), other(x))


def test_serving_function_has_a_static_signature():
    model, x = small(), images(1)
    serve = model.serving_function((32, 32))
    concrete = serve.get_concrete_function()
    assert concrete.structured_input_signature[0] == (tf.TensorSpec((1, 32, 32, 3), tf.uint8, name="images"),)
    assert concrete.output_shapes == (1, 32, 32, 3)
    np.testing.assert_allclose(serve(x), model(x, training=False), atol=1e-6)
    with pytest.raises((TypeError, ValueError)):
        serve(images(2))


def test_mixed_precision_computes_in_half_and_answers_in_float32():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model, x = small(), images()
        logits = model(x)
        assert logits.dtype == "float32"
        assert model.standardize(x).dtype == "float16"
        assert all(weight.dtype == "float32" for weight in model.weights)
        concrete = model.serving_function((32, 32)).get_concrete_function()
        convolutions = [one for one in concrete.graph.get_operations() if one.type == "Conv2D"]
        assert {one.outputs[0].dtype for one in convolutions[:-1]} == {tf.float16}
        assert convolutions[-1].outputs[0].dtype == tf.float32
        plain = UNet.from_config({**model.get_config(), "dtype": "float32"})
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert plain.compute_dtype == "float32"


@pytest.mark.parametrize(
    ("policy", "jit_compile"),
    [
        ("mixed_float16", False),
        pytest.param("float32", True, marks=pytest.mark.either_keras),
        pytest.param("mixed_float16", True, marks=pytest.mark.either_keras),
    ],
)
def test_it_learns(policy, jit_compile):
    # Class 1 where the image is bright: one level of the network suffices to learn it.
    x = np.repeat(np.repeat(np.random.default_rng(1).integers(0, 256, (16, 4, 4, 1), np.uint8), 4, 1), 4, 2)
    y = (x[..., 0] > 128).astype("uint8")
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = small(classes=2, levels=2)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], jit_compile=jit_compile)
    history = model.fit(np.repeat(x, 3, 3), y, epochs=10, batch_size=8, verbose=0).history
    assert history["accuracy"][-1] > 0.9


@UPSAMPLINGS
@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32])
def test_full_integer_conversion_leaves_nothing_in_float_and_agrees(upsampling, dtype):
    model, x = small(upsampling=upsampling), images(8).astype(dtype.as_numpy_dtype)
    for _ in range(3):
        model(x, training=True)
    signature = tf.TensorSpec((1, 32, 32, 3), dtype)
    concrete = tf.function(lambda one: model(one, training=False), input_signature=[signature]).get_concrete_function()
    module = tf.Module()
    module.held = list(concrete.variables)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([one[None]] for one in x)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=converter.convert())
    assert not [one["name"] for one in interpreter.get_tensor_details() if one["dtype"] in (np.float32, np.float16)]
    interpreter.allocate_tensors()
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.set_tensor(given["index"], images(8)[:1])
    interpreter.invoke()
    scale, zero = answer["quantization"]
    logits = (interpreter.get_tensor(answer["index"]).astype("float32") - zero) * scale
    expected = model(x[:1], training=False)
    # Whole network in 8 bits: an error of a few of the output's 256 steps.
    assert np.sqrt(np.mean((logits - expected) ** 2)) < 6 * scale


@pytest.mark.parametrize("growth", [1, 2])
def test_each_level_has_growth_times_as_many_filters(growth):
    model = small(growth=growth)
    model(images())
    widths = {block.name: block.filters for block in [*model.encoders, model.bottom, *model.decoders]}
    assert [widths[name] for name in ("encoder_0", "encoder_1", "bottom")] == [8, 8 * growth, 8 * growth**2]
    assert [widths[name] for name in ("decoder_1", "decoder_0")] == [8 * growth, 8]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"classes": 1}, "classes"), ({"base_filters": 0}, "base_filters"), ({"levels": 1}, "levels"),
     ({"growth": 0}, "growth"), ({"upsampling": "nearest"}, "upsampling")],
)  # fmt: skip
def test_wrong_arguments(arguments, word):
    with pytest.raises(ValueError, match=f"`{word}` must be .* Received: {word}="):
        small(**arguments)


def test_a_size_that_does_not_halve():
    with pytest.raises(ValueError, match=r"width must divide by 4 .* Received: width=30"):
        small().build((None, 32, 30, 3))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_fused_normalization_computes_what_keras_does(policy):
    own, fused = keras.layers.BatchNormalization(dtype=policy), FusedBatchNormalization(dtype=policy)
    x = tf.constant(np.random.default_rng(0).normal(3, 2, (4, 8, 8, 5)).astype("float32"))
    results = []
    for layer in (own, fused):
        layer.build(x.shape)
        layer.gamma.assign(np.linspace(0.5, 2, 5))
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.cast(layer(x, training=True), tf.float32) ** 3)
        results.append([loss, tape.gradient(loss, x), *layer.get_weights(), layer(x, training=False)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=6e-3, atol=1e-3 if policy == "float32" else 1e-2)
