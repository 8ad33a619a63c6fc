"""What training simulates is what LiteRT computes, layer by layer and operation by operation."""

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import compat, export_model
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
        return np.asarray(tf.function(lambda given: compat.infer(model, given))(tf.constant(images)))
    finally:
        undo()


def converted(model, spec, ranges, folder):
    source, _ = ranged.save_rounded(model, spec, ranged.Wanted(ranges, "min_max"), None, folder / "source")
    path = folder / "int8.tflite"
    path.write_bytes(litert.convert(litert.SETTINGS["int8"], source))
    return path, source


@pytest.mark.parametrize(
    "name",
    # An operation of TensorFlow's is the same under both Kerases.
    [pytest.param(name, marks=[pytest.mark.either_keras] if name.startswith("raw_") else []) for name in LAYERS],
)
def test_the_file_computes_what_training_simulated(name, tmp_path):
    model, spec, images = made(LAYERS[name])
    sites = find_sites(model, spec)
    assert sites.unknown == ()
    ranges = ranges_of(model, spec, sites, images)
    expected = simulated(model, sites, {**ranges, **sites.fixed}, images)
    path, source = converted(model, spec, ranges, tmp_path)
    assert flatbuffer.float_operations(path) == []
    (answers,) = litert.load(path, source, 1)([images])
    assert (answers.argmax(-1) == expected.argmax(-1)).mean() >= 0.995
    step = np.diff(np.unique(answers)).min()
    assert np.abs(answers - expected).max() <= 3.5 * step
    plain = np.asarray(compat.infer(model, tf.constant(images)))
    assert np.abs(plain - expected).max() > 0.1 * step  # it was rounded at all


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


def test_looking_at_a_model_leaves_it_as_it_was():
    model, spec, images = made(LAYERS["custom_layer"])
    before = [dict(vars(layer)) for layer in compat.all_layers(model)]
    ranges_of(model, spec, find_sites(model, spec), images[:2])
    for layer, attributes in zip(compat.all_layers(model), before, strict=True):
        assert vars(layer).keys() - {"_saved_model_inputs_spec"} <= attributes.keys()
        assert "call" not in vars(layer)
        assert getattr(layer, "fused", None) == attributes.get("fused", getattr(layer, "fused", None))
