"""Kernels of few distinct values in int8 files: as few distinct integers, which stand for the same weights."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from segopt_callbacks import cluster_model, compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.litert import shared_scales
from tests.export import export_targets
from tests.export.litert import litert_cases
from tests.export.litert.litert_cases import CASES, FLOATS, LABELS

FORMATS = ("float32", "int8", "weight_only_int8")
CLUSTERS = 6


def twice():
    """One kernel for two inputs, whose ranges differ."""
    inputs, shared = keras.Input((16, 16, 3)), keras.layers.Conv2D(3, 3, padding="same")
    return keras.Model(inputs, keras.layers.Conv2D(8, 1)(shared(5 * shared(inputs))))


def clustered(name, **settings):
    make, x, inputs = CASES.get(name, (twice, FLOATS, {"input": FLOATS}))
    model = make()
    for number, weight in enumerate(model.trainable_weights):
        if len(weight.shape) == 1:  # a channel that is turned around, and biases
            value = compat.read(weight) + np.float32(0.1)
            compat.assign(weight, np.where(np.arange(value.size) == number % 5, -value, value))
    cluster_model(model, CLUSTERS, **settings)
    return model, x, inputs


def export(model, x, folder, formats=FORMATS):
    export_model(model, folder, formats, evaluation_data=(x, LABELS), verbose=0)
    return [Path(folder) / f"{name}.tflite" for name in formats]


def weights_of(path):
    """Name -> integers, and the real values they stand for, by the interpreter's own account."""
    found = {}
    for name, (codes, quantization) in litert_cases.constants(path).items():
        scales, axis = quantization["scales"], quantization["quantized_dimension"]
        shape = [-1 if one == axis else 1 for one in range(codes.ndim)]
        if codes.dtype == np.int8 and codes.ndim >= 2:
            assert not quantization["zero_points"].any()
            found[name] = codes, codes * np.float64(scales.reshape(shape)), scales.reshape(shape)
    return found


def real_kernel(reals, name, values):
    """That of the float32 file; of another conversion it may have another name there."""
    alike = [one for one, _ in reals.values() if one.shape == values.shape]
    return reals[name][0] if name in reals else min(alike, key=lambda one: np.abs(one - values).max())


@pytest.mark.parametrize(
    ("name", "fold_batch_norm"), [("subclassed", True), *((name, False) for name in (*CASES, "twice"))]
)
def test_distinct_integers_are_at_most_the_distinct_values(tmp_path, name, fold_batch_norm):
    model, x, _ = clustered(name, fold_batch_norm=fold_batch_norm)
    floats, *integers = export(model, x, tmp_path)
    reals = litert_cases.constants(floats)
    for path in integers:
        kernels = weights_of(path)
        assert len(kernels) >= 2
        for kernel, (codes, values, scales) in kernels.items():
            turned = [np.unique(one[one != 0]).size for one in (codes, np.abs(codes))]
            # A channel that is turned around has its values with the other sign.
            assert np.unique(codes).size <= CLUSTERS or (turned[0] <= 2 * CLUSTERS and turned[1] <= CLUSTERS), kernel
            real = real_kernel(reals, kernel, values)
            assert np.all(np.abs(values - real) <= 0.501 * scales), kernel
            assert np.all((codes == 0) == (np.abs(real) < 0.5 * scales)), kernel


@pytest.mark.parametrize("name", ["several", "separable", "twice"])
def test_answers_and_biases_stay_those_of_the_converters_file(tmp_path, name, monkeypatch):
    """But for a coarser rounding of weights."""
    model, x, inputs = clustered(name, fold_batch_norm=False)
    shared = export(model, x, tmp_path / "shared", ("int8",))[0]
    write = functools.partial(export_targets.write_unshared, "int8")
    monkeypatch.setitem(TARGETS, "int8", dataclasses.replace(TARGETS["int8"], write=write))
    plain = export(model, x, tmp_path / "plain", ("int8",))[0]
    before, after = litert_cases.run(plain, inputs), litert_cases.run(shared, inputs)
    for output, wanted in litert_cases.expected(model, x).items():
        assert np.abs(after[output] - wanted).mean() <= np.abs(before[output] - wanted).mean() + 0.01 * np.ptp(wanted)
    constants, changed = litert_cases.constants(shared), 0
    for name, (codes, quantization) in litert_cases.constants(plain).items():
        if codes.dtype == np.int32 and codes.ndim == 1 and quantization["scales"].size == codes.size:
            now, scales = constants[name][0], constants[name][1]["scales"]
            np.testing.assert_allclose(now * scales, codes * quantization["scales"], rtol=0, atol=0.51 * scales.max())
            changed += not np.array_equal(now, codes)
    assert changed


def test_a_quiet_channel_is_no_coarser_for_the_sake_of_a_loud_one():
    """Its largest weight is 3% of the kernel's: one integer for each value would leave it 4 steps."""
    loud, quiet = np.array([1.0, 0.5, -1.0, 0.25], "float32"), np.array([0.03, 0.013, -0.013, 0.03], "float32")
    kernel = np.stack([loud] * 9 + [quiet])
    scales = np.abs(kernel).max(axis=1) / np.float32(127)
    codes = np.round(kernel / scales[:, None])
    assert shared_scales.shared_codes(codes, scales, kernel) is None
    assert shared_scales.shared_codes(codes[:9], scales[:9], kernel[:9]) is not None


def test_files_of_many_values_are_left_alone(tmp_path):
    make, x, _ = CASES["functional"]
    model = make()
    path = export(model, x, tmp_path, ("int8",))[0]
    kernels = [compat.read(weight) for weight in model.weights]
    content = path.read_bytes()
    assert shared_scales.share_scales(content, kernels) is content
    assert shared_scales.share_scales(content, [np.sign(kernel) for kernel in kernels]) is content  # another model's


def test_a_kernel_of_few_weights_is_none_of_few_values(tmp_path):
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 1)(keras.layers.Conv2D(9, 1)(inputs)))
    path = export(model, FLOATS, tmp_path, ("int8",))[0]
    kernels = [compat.read(weight) for weight in model.weights]
    assert all(kernel.size <= shared_scales.MOST_DISTINCT for kernel in kernels)
    content = path.read_bytes()
    assert shared_scales.share_scales(content, kernels) is content
    for codes, _, _ in weights_of(path).values():
        assert np.all(np.abs(codes).reshape(len(codes), -1).max(1) == 127)  # the converter's scales, by channel


@hypothesis.given(data=strategies.data())
def test_codes_stand_for_the_same_weights(data):
    """Whatever a converter has multiplied channels by."""
    random = np.random.default_rng(data.draw(strategies.integers(0, 2**32)))
    channels, elements = data.draw(strategies.tuples(strategies.integers(1, 9), strategies.integers(1, 40)))
    values = random.normal(size=data.draw(strategies.integers(1, 16))).astype("float32")
    values[: data.draw(strategies.integers(0, 1))] = 0
    kernel = values[random.integers(0, values.size, (channels, elements))]
    weights = kernel * random.uniform(-9, 9, (channels, 1)).astype("float32")
    scales = np.abs(weights).max(axis=1) / np.float32(127)
    scales[scales == 0] = 1
    found = shared_scales.shared_codes(np.round(weights / scales[:, None]), scales, kernel)
    if found is None:  # some channel would lose more than 2%
        step = np.abs(kernel).max() / 127
        lost = np.square(np.round(kernel / step) * step - kernel) if step else np.zeros_like(kernel)
        assert not step or np.any(lost.sum(1) > 0.00039 * np.square(kernel).sum(1))
        return
    codes, new = found
    lost = np.square(np.abs(codes * new[:, None]) - np.abs(weights), dtype=np.float64).sum(1)
    assert np.all(lost <= 0.00041 * np.square(weights, dtype=np.float64).sum(1) + 1e-12)
    assert np.all(np.abs(codes * new[:, None] - weights) <= 0.501 * new[:, None])
    assert np.unique(np.abs(codes)).size <= np.unique(np.abs(kernel)).size
    assert np.all(codes[kernel == 0] == 0)


def test_zero_biases_that_the_converter_stores_once_do_not_keep_kernels_from_sharing(tmp_path):
    hidden = inputs = keras.Input((16, 16, 3))
    for filters in (16, 16, 24):
        hidden = keras.layers.SeparableConv2D(filters, 3, padding="same", activation="relu")(hidden)
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1)(hidden))
    cluster_model(model, CLUSTERS)
    (path,) = export(model, FLOATS, tmp_path, ["int8"])
    counts = {name: np.unique(codes).size for name, (codes, _, _) in weights_of(path).items()}
    assert len(counts) == 7
    assert max(counts.values()) <= CLUSTERS, counts
