"""What the report says of a file, against what the interpreter reads out of that file."""

import functools
import weakref

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from segopt_callbacks import compat, export_model
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export import audit, matching
from segopt_callbacks.export.litert import flatbuffer
from segopt_callbacks.model.weights import select_weights
from tests import export_models
from tests.export.litert.litert_cases import constants
from tests.export_models import DATA

FORMATS = ("saved_model", "float32", "int8")


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """A model with 80% zeros and 16 distinct values in each kernel, exported."""
    folder = tmp_path_factory.mktemp("export")
    model = export_models.compressed()
    zeros = {path: int((compat.read(weight) == 0).sum()) for path, weight in select_weights(model).items()}
    return folder, export_model(model, folder, FORMATS, evaluation_data=DATA, verbose=0, remove_channels=False), zeros


@pytest.mark.parametrize("name", FORMATS)
def test_zeros_and_distinct_values_survive_in_every_kernel(compressed, name):
    _, report, zeros = compressed
    rows = {row["weight"]: row for row in report["formats"][name]["weights"]}
    assert set(rows) == set(zeros)
    for path, count in zeros.items():
        assert count >= round(0.8 * rows[path]["elements"])
        assert rows[path]["zeros"] >= count
        assert rows[path]["max_distinct_per_channel"] <= 16
        if name == "saved_model":
            assert rows[path]["zeros"] == count
            assert rows[path]["distinct"] <= 16


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_the_rows_are_what_the_interpreter_reads(compressed, name):
    folder, report, _ = compressed
    stored = constants(folder / f"{name}.tflite")
    rows = report["formats"][name]["weights"]
    assert len(rows) == 3
    for row in rows:
        values, quantization = stored[row["name"]]
        assert list(values.shape) == row["shape"]
        assert values.dtype.name == row["dtype"]
        assert (values == 0).sum() == row["zeros"]
        assert np.unique(values).size == row["distinct"]
        channels = values.reshape(values.shape[0], -1)  # output channels come first in LiteRT
        assert max(np.unique(channel).size for channel in channels) == row["max_distinct_per_channel"]
        assert quantization["scales"].size == row["scales"]


def test_the_bound_is_the_entropy_of_what_stands_where_and_each_value_once(compressed):
    """SciPy is the reference."""
    folder, report, _ = compressed
    for name in ("float32", "int8"):
        stored = constants(folder / f"{name}.tflite")
        for row in report["formats"][name]["weights"]:
            values, _ = stored[row["name"]]
            _, counts = np.unique(values, return_counts=True)
            bits = values.size * scipy.stats.entropy(counts, base=2)
            assert row["entropy_bytes"] == np.ceil(bits / 8) + counts.size * values.itemsize
        assert report["formats"][name]["entropy_bytes"] < report["formats"][name]["gzip_bytes"]


def test_totals_are_sums(compressed):
    _, report, _ = compressed
    for name in FORMATS:
        entry = report["formats"][name]
        elements = sum(row["elements"] for row in entry["weights"])
        assert entry["elements"] == elements == report["model"]["elements"]
        assert entry["zeros"] == sum(row["zeros"] for row in entry["weights"]) / elements


def test_channels_are_counted_each_for_itself():
    values = np.stack([np.arange(12) % 2, np.arange(12) % 5, np.zeros(12)], axis=-1)
    row = audit.weight_row("kernel", values, channel_axis=-1)
    assert (row["distinct"], row["max_distinct_per_channel"], row["zeros"]) == (5, 5, 6 + 3 + 12)


def test_zero_is_the_zero_point():
    assert audit.weight_row("kernel", np.array([[3, 0], [3, 3]], np.int8), channel_axis=0, zero_point=3)["zeros"] == 3


def test_a_file_without_its_weights_is_too_small(tmp_path):
    path = tmp_path / "small.tflite"
    path.write_bytes(bytes(5000))
    weights = {"kernel": np.ones((100, 100), np.float32), "bias": np.ones(10**6, np.float32)}
    audit.require_size(path, weights, 1)
    with pytest.raises(FormatError, match="far too small for its parameters: 5000 bytes, and 40000 bytes of weights"):
        audit.require_size(path, weights, 4)
    weights["kernel"][:75] = 0  # which sparse files leave out
    audit.require_size(path, weights, 4)


def test_a_stored_weight_finds_its_name_through_transposition_and_scaling():
    random = np.random.default_rng(0)
    weights = {"a/kernel": random.normal(size=(3, 3, 4, 8)), "b/kernel": random.normal(size=(3, 3, 4, 8))}
    folded = np.moveaxis(weights["b/kernel"], -1, 0).reshape(8, -1) * random.uniform(0.5, 2, size=(8, 1))
    assert matching.match_weights([folded, random.normal(size=(8, 36))], weights) == ["b/kernel", None]


def convert(function, *, integer):
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    if integer:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([np.full((1, 4), i, np.float32)] for i in (-1, 0, 1))
    return converter.convert()


def test_quantizing_the_inputs_is_no_float_operation(tmp_path):
    function = tf.function(lambda x: tf.nn.relu(x @ tf.eye(4)), input_signature=[tf.TensorSpec((1, 4))])
    path = tmp_path / "a.tflite"
    path.write_bytes(convert(function, integer=True))
    assert flatbuffer.float_operations(path) == []
    path.write_bytes(convert(function, integer=False))
    (operation,) = flatbuffer.float_operations(path)
    assert operation.startswith("FULLY_CONNECTED (")


def test_a_model_that_tfmot_has_clustered_and_stripped_has_the_same_counts_in_its_file(tmp_path):
    import tf_keras

    with compat.importing_tfmot():
        from tensorflow_model_optimization.clustering import keras as clustering
    layers = [tf_keras.layers.Conv2D(16, 3, activation="relu"), tf_keras.layers.Conv2D(4, 1)]
    model = tf_keras.Sequential([tf_keras.Input((8, 8, 3)), *layers])
    settings = {"cluster_centroids_init": clustering.CentroidInitialization.KMEANS_PLUS_PLUS}
    stripped = clustering.strip_clustering(clustering.cluster_weights(model, 8, **settings))
    report = export_model(stripped, tmp_path, ["float32", "saved_model"], verbose=0)
    counts = {weight.shape: np.unique(weight).size for weight in stripped.get_weights() if weight.ndim > 1}
    assert max(counts.values()) <= 8
    for name, axes in (("saved_model", [0, 1, 2, 3]), ("float32", [1, 2, 3, 0])):  # LiteRT has output channels first
        rows = report["formats"][name]["weights"]
        assert {tuple(np.take(row["shape"], axes)): row["distinct"] for row in rows} == counts


@pytest.mark.parametrize(("scales", "told"), [([0.25, 0.5, 0.125], [0.125, 0.5]), ([0.5], [0.5, 0.5]), ([], None)])
def test_the_range_of_scales_is_told_where_there_are_any(scales, told):
    row = audit.weight_row("kernel", np.ones((2, 3), np.int8), channel_axis=-1, scales=np.array(scales, np.float32))
    assert (row["scales"], row.get("scale_range")) == (len(scales), told)


def test_one_weight_is_in_memory_at_a_time(tmp_path):
    function = tf.function(
        lambda x: x @ tf.eye(4) @ tf.ones((4, 3)) @ tf.eye(3), input_signature=[tf.TensorSpec((1, 4))]
    )
    path = tmp_path / "a.tflite"
    path.write_bytes(convert(function, integer=False))
    seen = []

    def watched():
        stored = flatbuffer.stored_weights(path)
        for made in iter(functools.partial(next, stored, None), None):
            assert all(one() is None for one in seen)
            seen.append(weakref.ref(made))
            yield made
            del made

    assert len(audit.weight_rows(watched(), {"kernel": np.eye(4, dtype=np.float32)})) == len(seen) > 1
