"""Weights without their zeros: what is written, what the interpreter makes of it, and when it is not delivered."""

import dataclasses
import weakref

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from hypothesis import strategies

from segopt_callbacks import compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.litert import converter as litert
from segopt_callbacks.export.litert import encoding, flatbuffer, schema, sparse
from segopt_callbacks.export.report import weighed
from segopt_callbacks.export.source import Source
from segopt_callbacks.model.signature import freeze, input_specs
from segopt_callbacks.pruning.masks import magnitude_mask
from segopt_callbacks.records.ports import Port
from tests.export import export_targets
from tests.export.litert.litert_cases import CASES, LABELS, constants, run, wide
from tests.export_models import pruned

DENSE = ("tflm_int8", "tflm_lut", "ethos_u")  # in any case
LITERT = tuple(one for one, target in TARGETS.items() if target.file_name.endswith(".tflite") and one not in DENSE)
X = np.random.default_rng(0).uniform(size=(8, 8, 8, 3)).astype("float32")


@hypothesis.settings(deadline=None)
@hypothesis.given(
    hypothesis.extra.numpy.arrays(
        strategies.sampled_from(["float32", "float16", "int8"]),
        hypothesis.extra.numpy.array_shapes(max_dims=5, max_side=6),
        elements=strategies.sampled_from([0, 0, 0, 0, 1, -2]),
    )
)
def test_what_is_encoded_comes_back(values):
    stored, shape, sparsity = sparse.encode(values)
    np.testing.assert_array_equal(sparse.dense(stored, shape, sparsity), values)
    indices = sparsity.dimMetadata[-1]
    written = stored.nbytes + sum(one.values.nbytes for one in (indices.arraySegments, indices.arrayIndices))
    assert sparse.encoded_bytes(values) == written


@pytest.mark.parametrize("columns", [200, 300, 70_000], ids=["uint8", "uint16", "int32"])
def test_rows_are_those_of_scipy(columns):
    random = np.random.default_rng(0)
    values = (random.normal(size=(3, columns)) * (random.uniform(size=(3, columns)) < 0.1)).astype("float32")
    stored, _, sparsity = sparse.encode(values)
    expected = scipy.sparse.csr_matrix(values)
    assert list(sparsity.traversalOrder) == [0, 1]
    np.testing.assert_array_equal(stored, expected.data)
    np.testing.assert_array_equal(sparsity.dimMetadata[1].arraySegments.values, expected.indptr)
    np.testing.assert_array_equal(sparsity.dimMetadata[1].arrayIndices.values, expected.indices)


def test_values_without_a_place_are_an_error():
    stored, shape, sparsity = sparse.encode(np.eye(4, dtype="float32"))
    with pytest.raises(FormatError, match="stores 3 values, and has places for 4"):
        sparse.dense(stored[:-1], shape, sparsity)


# --- what TensorFlow's own encoder writes ----------------------------------------------------------------------------


def in_blocks(shape, block, random):
    """A kernel whose zeros come in runs of `block`."""
    kept = random.uniform(size=(shape[0], shape[1] // block)) < 0.1
    return (random.normal(size=shape) * np.repeat(kept, block, axis=1)).astype("float32")


@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize(("block", "is_integer"), [(1, False), (4, False), (16, True)])
def test_the_sparse_files_of_the_converter_are_read(block, is_integer):
    """It writes blocks where zeros come in blocks; the dense file of the same converter is the reference."""
    random = np.random.default_rng(0)
    kernel = tf.constant(in_blocks((64, 128), block, random).T)
    function = tf.function(lambda x: x @ kernel, input_signature=[tf.TensorSpec((1, 128))])
    files = {}
    for name in ("EXPERIMENTAL_SPARSITY", "DEFAULT"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY] if name == "EXPERIMENTAL_SPARSITY" else []
        if is_integer:
            converter.optimizations += [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([np.full((1, 128), i, np.float32)] for i in (-1, 0, 1))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        files[name] = converter.convert()
    model = schema.unpack(files["EXPERIMENTAL_SPARSITY"])
    (tensor,) = [one for one, _ in flatbuffer.weight_tensors(model)]
    assert tensor.sparsity is not None
    assert bool(block > 1) == bool(tensor.sparsity.blockMap is not None and len(tensor.sparsity.blockMap))
    (found,), (reference,) = (flatbuffer.stored_weights(content) for content in files.values())
    assert (reference.values == 0).mean() > 0.8
    np.testing.assert_array_equal(found.values, reference.values)


# --- files of pruned models ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sparse_export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    keras.utils.set_random_seed(7)
    model = pruned(wide(), 0.8)
    return folder, export_model(
        model, folder, LITERT, evaluation_data=(X, LABELS[:8]), verbose=0, remove_channels=False
    )


# Bytes of the sparse file, as a fraction of the dense one's. The large kernels of dynamic_int8 and int4 stay dense.
SMALLER = dict.fromkeys(LITERT, 0.65) | {"float32": 0.3, "float16": 0.4, "dynamic_int8": 1, "int4": 0.85}


@pytest.mark.parametrize("name", LITERT)
def test_of_a_pruned_model_the_smaller_file_is_delivered(sparse_export, name):
    folder, report = sparse_export
    entry = report["formats"][name]
    notes = entry["notes"]
    assert notes["encoding"] == "sparse"
    assert entry["bytes"] == (folder / entry["file"]).stat().st_size == notes["sparse_bytes"]
    assert notes["sparse_bytes"] < SMALLER[name] * notes["dense_bytes"]
    assert entry["gzip_bytes"] == notes["sparse_gzip_bytes"]
    assert notes["dense_gzip_bytes"] < notes["dense_bytes"]
    assert entry["zeros"] >= 0.799
    assert not any("dense" in one["name"] for one in entry["activations"])


@pytest.mark.parametrize("name", LITERT)
def test_the_audit_counts_what_the_interpreter_makes_of_it(sparse_export, name):
    """Every weight that a DENSIFY has made while the file ran, against the row of the report."""
    folder, report = sparse_export
    path = folder / f"{name}.tflite"
    stored, rows = constants(path), report["formats"][name]["weights"]
    assert {row["weight"] for row in rows} == {row["weight"] for row in report["model"]["weights"]}
    assert any(one.sparsity is not None for one, _ in flatbuffer.weight_tensors(schema.unpack(path.read_bytes())))
    for row in rows:
        values, quantization = stored[row["name"]]
        assert row["shape"] == list(values.shape)
        assert row["dtype"] in (values.dtype.name, "int4")
        assert row["zeros"] == (values == 0).sum() >= round(0.8 * values.size)
        assert row["distinct"] == np.unique(values).size
        assert row["scales"] == quantization["scales"].size


def source_of(model, x, folder):
    """The source of an export, in this process."""
    frozen = freeze(model, input_specs(model, x))
    tf.saved_model.save(frozen.module, str(folder / "one"), signatures=frozen.serve)
    source = Source(folder, frozen.inputs, frozen.outputs)
    source.save_examples([x[index : index + 1]] for index in range(len(x)))
    return source


@pytest.fixture(scope="module")
def dense_content(tmp_path_factory):
    keras.utils.set_random_seed(7)
    source = source_of(pruned(wide(), 0.8), X, tmp_path_factory.mktemp("source"))
    return source, litert.float_content(source)


def sparse_content(content, folder):
    path = folder / "dense.tflite"
    path.write_bytes(content)
    return encoding.sparse_file(path)


def test_both_files_answer_alike_to_the_last_bit(dense_content, tmp_path):
    _, content = dense_content
    candidate = sparse_content(content, tmp_path)
    assert len(candidate) < len(content)
    np.testing.assert_array_equal(run(candidate, {"input": X})["output"], run(content, {"input": X})["output"])


def test_a_model_that_is_not_pruned_has_no_sparse_file(tmp_path):
    report = export_model(wide(), tmp_path, ["float32", "int8"], evaluation_data=(X, LABELS[:8]), verbose=0)
    notes = [entry["notes"] for entry in report["formats"].values()]
    assert notes == [{"encoding": "dense"}, {"encoding": "dense", "calibrated on": "evaluation data"}]


def test_weights_in_the_body_of_a_loop(tmp_path):
    """A recurrent layer is a WHILE, whose body is a graph of its own."""
    x = np.random.default_rng(0).uniform(size=(5, 4, 8)).astype("float32")
    model = keras.Sequential([keras.Input((4, 8)), keras.layers.LSTM(64), keras.layers.Dense(2)])
    for weight in model.trainable_variables:
        if len(weight.shape) == 2:
            value = compat.read(weight)
            compat.assign(weight, value * magnitude_mask(value, 0.9))
    formats = ["float32", "float16", "weight_only_int8", "int4"]
    report = export_model(model, tmp_path, formats, evaluation_data=(x, np.zeros(5)), verbose=0)
    for name in formats[:3]:
        entry = report["formats"][name]
        assert entry["notes"]["encoding"] == "sparse"
        assert entry["largest_difference"] < 0.01
        assert entry["zeros"] >= 0.89
        model = schema.unpack((tmp_path / entry["file"]).read_bytes())
        assert any(tensor.sparsity is not None for graph in model.subgraphs[1:] for tensor in graph.tensors)


@pytest.mark.parametrize("case", CASES)
def test_a_file_that_would_not_be_smaller_stays_dense(case, tmp_path):
    make, x, _ = CASES[case]
    report = export_model(pruned(make(), 0.6), tmp_path, ["float32", "int8"], evaluation_data=(x, LABELS), verbose=0)
    for entry in report["formats"].values():
        notes = entry["notes"]
        sizes = [notes[key] for key in ("dense_bytes", "sparse_bytes") if key in notes]
        assert entry["bytes"] == min(sizes, default=entry["bytes"])


@pytest.mark.parametrize(
    ("load", "cause"),
    [
        (litert.load, None),
        (export_targets.load_and_die_of_sparse, "its process was killed by SIGSEGV while running it"),
        (export_targets.load_sparse_wrongly, "its output 'output' is not that of the dense file"),
        (export_targets.refuse_sparse, "the LiteRT interpreter cannot load the file"),
    ],
    ids=["works", "crashes", "answers_otherwise", "does_not_load"],
)
def test_a_sparse_file_that_goes_wrong_costs_nothing_else(dense_content, tmp_path, load, cause):
    source, content = dense_content
    path = tmp_path / "file.tflite"
    path.write_bytes(content)
    encoding.keep_smallest(path, source, load)
    notes = encoding.read_notes(path, weighed(path))
    if cause is None:
        assert notes["encoding"] == "sparse"
        assert path.stat().st_size == notes["sparse_bytes"] < notes["dense_bytes"]
    else:
        assert notes["encoding"] == "dense"
        assert cause in notes["sparse_refused"]
        assert path.read_bytes() == content
    assert {one.name for one in tmp_path.iterdir()} == {"file.tflite", "file.tflite.notes.json"}


def test_without_examples_noise_is_run(dense_content, tmp_path):
    source, content = dense_content
    bare = dataclasses.replace(source, folder=tmp_path)
    assert next(bare.examples(), None) is None
    (tmp_path / "file.tflite").write_bytes(content)
    encoding.keep_smallest(tmp_path / "file.tflite", bare, litert.load)
    assert encoding.read_notes(tmp_path / "file.tflite", weighed(tmp_path / "file.tflite"))["encoding"] == "sparse"
    ports = (Port("a", (1, 4), "float32"), Port("b", (1, 2), "uint8"), Port("c", (1, 2), "int64"))
    noise = list(encoding._examples(Source(tmp_path, ports, ())))
    assert [[one.dtype.name for one in example] for example in noise] == [["float32", "uint8", "int64"]] * 4


def test_weights_that_integer_kernels_read_beside_float_activations_stay_dense(dense_content, tmp_path, monkeypatch):
    """They want a constant: with them sparse, LiteRT does not open the file. That is why they are left out."""
    source, _ = dense_content
    content = litert.convert(litert.SETTINGS["dynamic_int8"], source)
    stored = {one.name: one.dtype for one in flatbuffer.stored_weights(content)}
    assert set(stored.values()) == {"float32", "int8"}
    model = schema.unpack(sparse_content(content, tmp_path))
    are_sparse = {schema.tensor_name(one): one.sparsity is not None for one, _ in flatbuffer.weight_tensors(model)}
    assert all(dtype == "float32" for name, dtype in stored.items() if are_sparse[name])
    monkeypatch.setattr(encoding, "_constant_weights", lambda model, graph: set())
    with pytest.raises(RuntimeError, match="failed to prepare"):
        run(sparse_content(content, tmp_path), {"input": X})


def test_integer_dense_layers_stay_dense_and_keep_no_convolution_from_being_sparse(tmp_path):
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(64, 3, name="conv"), keras.layers.GlobalAveragePooling2D()]
    model = pruned(keras.Sequential([*layers, keras.layers.Dense(64, name="wide"), keras.layers.Dense(4)]), 0.9)
    entry = export_model(model, tmp_path, ["int8"], evaluation_data=(X, LABELS[:8]), verbose=0)["formats"]["int8"]
    assert entry["notes"]["encoding"] == "sparse"
    content = (tmp_path / "int8.tflite").read_bytes()
    are_sparse = {
        schema.tensor_name(one): one.sparsity is not None
        for one, _ in flatbuffer.weight_tensors(schema.unpack(content))
    }
    assert sorted(are_sparse.values()) == [False, False, True]


def test_a_buffer_of_two_tensors_stays_dense(dense_content, tmp_path):
    _, content = dense_content
    model = schema.unpack(content)
    graph = model.subgraphs[0]
    for index in flatbuffer.kernels(model, graph):
        graph.tensors.append(schema.computed_like(graph.tensors[index], f"again/{index}"))
        graph.tensors[-1].buffer = graph.tensors[index].buffer
    assert sparse_content(schema.pack(model), tmp_path) is None


def test_compared_files_are_open_one_after_the_other(tmp_path):
    opened = []

    def load(path, source, threads):
        def run(batch):
            return [batch[0] * 2]

        assert all(one() is None for one in opened)
        opened.append(weakref.ref(run))
        return run

    source = Source(tmp_path, (Port("x", (1, 4), "float32"),), (Port("y", (1, 4), "float32"),))
    encoding.require_alike(load, tmp_path / "dense", tmp_path / "sparse", source)
    assert len(opened) == 2
