"""Scales and biases of few significant bits: the same weights, nearly the same answers, fewer bytes after gzip."""

from __future__ import annotations

import gzip

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from segopt_callbacks import compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.export.litert import ai_edge, flatbuffer, schema
from segopt_callbacks.export.litert.digits import BIAS_BITS, SPARE_BITS, shorten, significant
from tests.export.litert.litert_cases import CASES, LABELS, run, wide

NORMAL = strategies.floats(-(2.0**15), 2.0**15, width=32).filter(lambda value: value == 0 or abs(value) > 2.0**-14)
BITS = {"int4": 4, "int8": 8}


@hypothesis.given(arrays.arrays("float32", 5, elements=NORMAL))
def test_formats_of_as_many_bits_round_alike(values):
    np.testing.assert_array_equal(significant(values, 8), values.astype(tf.bfloat16.as_numpy_dtype).astype("float32"))
    np.testing.assert_array_equal(significant(values, 11), values.astype("float16").astype("float32"))


@hypothesis.given(arrays.arrays("float32", 5, elements=NORMAL), strategies.integers(1, 24))
def test_a_number_moves_by_the_last_bit_at_most(values, bits):
    rounded = significant(values, bits)
    assert (np.abs(rounded - np.float64(values)) <= 2.0**-bits * np.abs(values)).all()
    np.testing.assert_array_equal(significant(rounded, bits), rounded)


@pytest.fixture(scope="module", params=[*CASES, "wide"])
def floats(request, tmp_path_factory):
    """The float32 file of a model whose biases are not zero, and inputs."""
    make, x, inputs = CASES.get(request.param, (wide, None, {}))
    keras.utils.set_random_seed(7)
    model, folder, random = make(), tmp_path_factory.mktemp(request.param), np.random.default_rng(0)
    for weight in model.trainable_weights:
        if len(weight.shape) == 1:
            compat.assign(weight, compat.read(weight) + random.normal(0, 0.1, weight.shape).astype("float32"))
    data = None if x is None else (x, LABELS)
    export_model(model, folder, ["float32"], evaluation_data=data, verbose=0, sparse=False)
    return folder, inputs


def biases(content):
    """Rank-1 floats that an operator with weights reads last, by the name of their tensor."""
    model = schema.unpack(content)
    (graph,) = model.subgraphs
    indices = {
        int(one.inputs[-1])
        for one in graph.operators
        if schema.operator_name(model, one) in flatbuffer.WEIGHT_OPERATORS
    }
    found = {schema.tensor_name(one): schema.values(model, one) for one in (graph.tensors[index] for index in indices)}
    return {name: value for name, value in found.items() if value is not None and value.ndim == 1}


@pytest.mark.parametrize("name", ai_edge.RECIPES)
def test_weights_stay_and_their_scales_and_biases_are_shorter(floats, name):
    folder, inputs = floats
    before = ai_edge.quantize((folder / "float32.tflite").read_bytes(), ai_edge.RECIPES[name])
    after = shorten(before)
    pairs = list(zip(flatbuffer.stored_weights(before), flatbuffer.stored_weights(after), strict=True))
    assert pairs
    for old, new in pairs:
        np.testing.assert_array_equal(new.values, old.values)
        np.testing.assert_array_equal(new.scales, significant(old.scales, BITS[old.dtype] + SPARE_BITS))
    old, new = biases(before), biases(after)
    assert old.keys() == new.keys()
    assert any(value.any() for value in old.values())
    for key, value in old.items():
        np.testing.assert_array_equal(new[key], significant(value, BIAS_BITS))
    assert len(gzip.compress(after)) < len(gzip.compress(before))
    assert shorten(after) is after
    if inputs:
        wanted, *answers = (run(one, inputs) for one in ((folder / "float32.tflite").read_bytes(), before, after))
        for key, value in wanted.items():
            lost_before, lost = (np.abs(one[key] - value).mean() for one in answers)
            assert lost <= (1 + 2.0**-SPARE_BITS) * lost_before


def test_the_converters_own_file_of_8_bits_is_shorter_too(tmp_path):
    export_model(wide(), tmp_path, ["dynamic_int8"], verbose=0)
    rounded = [one for one in flatbuffer.stored_weights(tmp_path / "dynamic_int8.tflite") if one.dtype == "int8"]
    assert len(rounded) == 3
    for one in rounded:
        np.testing.assert_array_equal(one.scales, significant(one.scales, 8 + SPARE_BITS))


def test_what_something_else_reads_stays(floats):
    folder, _ = floats
    model = schema.unpack(ai_edge.quantize((folder / "float32.tflite").read_bytes(), ai_edge.RECIPES["int4"]))
    (graph,) = model.subgraphs
    longer = {
        name: one for name, one in biases(schema.pack(model)).items() if (significant(one, BIAS_BITS) != one).any()
    }
    other, before = next(iter(longer.items()))
    (index,) = [number for number, one in enumerate(graph.tensors) if schema.tensor_name(one) == other]
    graph.tensors.append(schema.computed_like(graph.tensors[index], "sum"))
    graph.operators.append(schema.addition(model, [index, index], [len(graph.tensors) - 1]))
    np.testing.assert_array_equal(biases(shorten(schema.pack(model)))[other], before)


def test_operators_may_read_nothing(floats):
    """Such as those that name a variable."""
    folder, _ = floats
    content = ai_edge.quantize((folder / "float32.tflite").read_bytes(), ai_edge.RECIPES["int4"])
    model = schema.unpack(content)
    (graph,) = model.subgraphs
    graph.tensors.append(schema.computed_like(graph.tensors[graph.inputs[0]], "variable"))
    graph.operators.append(schema.operator(model, "VAR_HANDLE", [], [len(graph.tensors) - 1]))
    before, after = biases(shorten(content)), biases(shorten(schema.pack(model)))
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
