"""What training simulates is what LiteRT computes, layer by layer and operation by operation."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.inference import ranged
from segopt_callbacks.export.litert import converter as litert
from segopt_callbacks.export.litert import flatbuffer
from segopt_callbacks.quantization.observing import observe
from segopt_callbacks.quantization.ranges import as_ranges
from segopt_callbacks.quantization.resolution import resolved_ranges
from segopt_callbacks.quantization.simulation import Simulation
from segopt_callbacks.quantization.sites import find_sites
from tests.export.litert.litert_cases import run
from tests.quantization.quantized_layers import FLOAT, LAYERS, SHAPE, Raw, Twice, smooth


def made(make):
    """A built model with biases and statistics that are not the initial ones, what it takes, and examples."""
    model = make()
    shape = tuple(model.inputs[0].shape[1:]) if getattr(model, "inputs", None) else SHAPE
    model(np.zeros((1, *shape), "float32"))
    random = np.random.default_rng(3)
    for weight in model.weights:
        if len(weight.shape) == 1:
            compat.assign(weight, random.uniform(0.5, 1.5, weight.shape))
    noise = np.random.default_rng(0).uniform(size=(24, *shape)).astype("float32")
    return model, tf.TensorSpec((None, *shape), tf.float32), np.concatenate([smooth(shape, 24), noise])


def ranges_of(model, spec, sites, images):
    names = [name for name in sites.activations if name not in sites.fixed]
    found = observe(model, spec, names, lambda: ([image[None]] for image in images), logits=sites.logits)
    return resolved_ranges(sites, found, sites.fixed)


def simulated(model, sites, ranges, images, **settings):
    undo = Simulation(model, sites, as_ranges(ranges), **settings).attach()
    try:
        answers = tf.function(lambda given: compat.infer(model, given))(tf.constant(images))
        return tf.nest.map_structure(np.asarray, answers)
    finally:
        undo()


def converted(model, spec, ranges, folder):
    source, _ = ranged.save_rounded(model, spec, ranged.Wanted(ranges, "min_max"), None, folder / "source")
    path = folder / "int8.tflite"
    path.write_bytes(litert.convert(litert.SETTINGS["int8"], source))
    return path, source


class SideBySide(keras.Model):
    """Several models of the same input, each with its output: tracing and converting one by one takes longer."""

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def call(self, inputs):
        return {name: part(inputs) for name, part in self.parts.items()}


def made_together(names):
    """One model of each; with other weights, as a converter makes one of equal convolutions of one input."""
    parts = {}
    for seed, name in enumerate(names):
        keras.utils.set_random_seed(7 + seed)
        parts[name], spec, images = made(LAYERS[name])
    model = SideBySide(parts) if len(parts) > 1 else parts[names[0]]
    model(images[:1])
    return model, spec, images


# What divides by numbers around zero depends on the last bit: it has the model that it always had.
RAW = tuple(name for name in LAYERS if name.startswith("raw_") and name != "raw_divide_by_both_signs")
# An operation of TensorFlow's is the same under both Kerases.
GROUPS = [pytest.param(RAW[at : at + 7], id=RAW[at], marks=pytest.mark.either_keras) for at in range(0, len(RAW), 7)]


@pytest.mark.parametrize("names", [pytest.param((one,), id=one) for one in LAYERS if one not in RAW] + GROUPS)
def test_the_file_computes_what_training_simulated(names, tmp_path):
    model, spec, images = made_together(names)
    sites = find_sites(model, spec)
    assert sites.unknown == ()
    ranges = ranges_of(model, spec, sites, images)
    every = tf.nest.flatten(simulated(model, sites, {**ranges, **sites.fixed}, images))
    path, source = converted(model, spec, ranges, tmp_path)
    assert flatbuffer.float_operations(path) == []
    unrounded = tf.nest.flatten(compat.infer(model, tf.constant(images)))
    for answers, expected, plain in zip(litert.load(path, source, 1)([images]), every, unrounded, strict=True):
        # Ties fall otherwise where the two are a step apart: of each seed, up to a hundredth.
        assert (answers.argmax(-1) == expected.argmax(-1)).mean() >= (0.995 if len(names) == 1 else 0.985)
        step = np.diff(np.unique(answers)).min()
        assert np.abs(answers - expected).max() <= 3.5 * step
        assert np.abs(plain.numpy() - expected).max() > 0.1 * step  # it was rounded at all


@pytest.mark.parametrize(
    "name", ["conv1d", "grouped", "depthwise", "separable1d", "transposed", "transposed_batch_norm", "dense", "matmul"]
)
def test_training_against_4_bits_rounds_a_kernel_to_as_many_as_the_int4_file_has(name, tmp_path):
    matmul = Raw(lambda hidden, inputs: tf.matmul(inputs, tf.reshape(tf.linspace(-1.0, 1.0, 36), (6, 6))))
    model, spec, images = made(LAYERS.get(name, lambda: matmul))
    expected = simulated(model, find_sites(model, spec), {}, images, num_bits=4)
    export_model(model, tmp_path, ["int4"], evaluation_data=(images, np.zeros(len(images))), verbose=0)
    (answers,) = run(tmp_path / "int4.tflite", {"input": images}).values()
    plain = np.asarray(compat.infer(model, tf.constant(images)))
    off = np.abs(answers - expected).max()  # its operations round what they read to 8 bits
    assert off <= 0.01 * np.abs(plain).max()
    assert off <= 0.5 * np.abs(plain - expected).max()  # it was rounded at all


@pytest.mark.parametrize("name", FLOAT)
def test_what_has_no_integer_kernel_is_named(name, tmp_path):
    """If this fails, the converter has learned something."""
    kind, make = FLOAT[name]
    model, spec, images = made(make)
    sites = find_sites(model, spec)
    assert any(one.endswith(f"({kind})") for one in sites.unknown)
    try:
        path, _ = converted(model, spec, ranges_of(model, spec, sites, images), tmp_path)
    except FormatError:
        return
    assert flatbuffer.float_operations(path)


def test_a_function_of_its_own_is_named_for_nobody_looks_into_it():
    model, spec, _ = made(lambda: Raw(tf.function(lambda hidden, inputs: tf.nn.relu(hidden) + inputs)))
    assert [one.partition("(")[2] for one in find_sites(model, spec).unknown] == ["PartitionedCall)"]


def test_a_layer_called_twice_has_a_range_for_each_place():
    model, spec, images = made(Twice)
    sites = find_sites(model, spec)
    relus = [name for name in sites.activations if "Relu" in name]
    assert len(relus) == 2
    ranges = ranges_of(model, spec, sites, images)
    assert len({ranges[name] for name in relus}) == 2
    assert sorted(set(sites.kernels.values())) == sorted(compat.variable_path(one) for one in model.weights[::2])


@pytest.mark.either_keras
def test_what_stands_before_every_kernel_is_told_apart():
    inputs = keras.Input((8, 8, 3))
    scaled = keras.layers.Rescaling(1 / 255, name="scaled")(inputs)
    seen = keras.layers.Conv2D(3, 1, activation="relu", name="seen")(scaled)
    model = keras.Model(inputs, keras.layers.Multiply(name="joined")([seen, scaled]))
    sites = find_sites(model, tf.TensorSpec((None, 8, 8, 3)))
    assert "input_0" in sites.prepared
    ranged = {name.split("/")[0].removesuffix("_1"): name in sites.prepared for name in sites.activations}
    assert ranged == {"input_0": True, "scaled": True, "seen": False, "joined": False}


def test_looking_at_a_model_leaves_it_as_it_was():
    model, spec, images = made(LAYERS["custom_layer"])
    before = [dict(vars(layer)) for layer in compat.all_layers(model)]
    ranges_of(model, spec, find_sites(model, spec), images[:2])
    for layer, attributes in zip(compat.all_layers(model), before, strict=True):
        assert vars(layer).keys() - {"_saved_model_inputs_spec"} <= attributes.keys()
        assert "call" not in vars(layer)
        assert getattr(layer, "fused", None) == attributes.get("fused", getattr(layer, "fused", None))
