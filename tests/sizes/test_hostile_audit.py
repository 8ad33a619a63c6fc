"""Damaged SavedModels and `.tflite` files: the ledger's readers, and the audit of an export."""

from __future__ import annotations

import contextlib
import tracemalloc

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from segopt_callbacks import sizes
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.litert import flatbuffer, schema
from segopt_callbacks.sizes.flatbuffer import require_tree
from tests.sizes import hostile_files
from tests.sizes.test_hostile import EXAMPLES

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel, and the `.tflite` made of it: a convolution and a matrix, float32 and int8."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("models")
    kernel = RNG.normal(size=(3, 3, 2, 8)).astype("float32")
    matrix = RNG.normal(size=(8, 4)).astype("float32")
    module = tf.Module()
    module.weights = [tf.Variable(kernel), tf.Variable(matrix)]

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 2), tf.float32)])
    def serve(image):
        hidden = tf.nn.relu(tf.nn.conv2d(image, module.weights[0], 1, "SAME"))
        return tf.matmul(tf.reduce_mean(hidden, (1, 2)), module.weights[1])

    module.serve = serve
    tf.saved_model.save(module, str(folder / "saved_model"))
    for name in ("float32", "dynamic_int8"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if name == "dynamic_int8" else []
        (folder / f"{name}.tflite").write_bytes(converter.convert())
    return folder


TENSOR = hostile_files.field(5, hostile_files.number(2, 1) + hostile_files.field(9, bytes(40)))  # of ONNX


def damaged(content: bytes, data) -> bytes:
    """Some bytes of a file changed, or its end cut off, or another number of 32 bits in its place."""
    changed = bytearray(content)
    for _ in range(data.draw(strategies.integers(1, 6))):
        position = data.draw(strategies.integers(0, len(changed) - 4))
        if data.draw(strategies.booleans()):
            changed[position] = data.draw(strategies.integers(0, 255))
        else:
            number = data.draw(strategies.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(content)]))
            changed[position : position + 4] = number.to_bytes(4, "little")
    return bytes(
        changed[: data.draw(strategies.integers(8, len(changed)))] if data.draw(strategies.booleans()) else changed
    )


@hypothesis.settings(max_examples=EXAMPLES, deadline=None)
@hypothesis.given(data=strategies.data())
def test_damaged_checkpoints_and_onnx_never_escape_as_another_error(saved, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "damaged"
    (folder / "variables").mkdir(parents=True, exist_ok=True)
    source = saved / "saved_model"
    shard = "variables/variables.data-00000-of-00001"
    (folder / shard).write_bytes((source / shard).read_bytes())
    (folder / "saved_model.pb").write_bytes((source / "saved_model.pb").read_bytes())
    index = (source / "variables" / "variables.index").read_bytes()
    (folder / "variables" / "variables.index").write_bytes(damaged(index, data))
    onnx = folder / "model.onnx"
    onnx.write_bytes(damaged(hostile_files.field(7, TENSOR * 5), data))
    for path in (folder, onnx):
        with contextlib.suppress(sizes.CorruptFileError):
            ledger = sizes.read_ledger(path)
            assert 0 <= ledger.weight_bytes <= ledger.whole_bytes


# --- the audit of an export ------------------------------------------------------------------------------------------

AUDITS = {
    "weights": lambda path: flatbuffer.read_weights(path, {}),
    "activations": flatbuffer.read_activations,
    "operations": flatbuffer.float_operations,
}
AUDIT = """
import sys
from pathlib import Path
from segopt_callbacks.export.litert import flatbuffer
from segopt_callbacks.errors import FormatError
for audit in (lambda path: flatbuffer.read_weights(path, {}), flatbuffer.read_activations, flatbuffer.float_operations):
    try:
        audit(Path(sys.argv[1]))
        print("read")
    except FormatError as error:
        print("refused:", error)
"""
BOMBS = {
    "tensors": hostile_files.shared_tensors(20_000),
    "buffers": hostile_files.shared_buffers(20_000, 500_000),
    "names": hostile_files.shared_names(20_000, 500_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_audit_of_a_bomb_is_refused_in_little_memory(tmp_path, name):
    """400,000,000 tensors, 10 GB of weights, 10 GB of names: in files below 2 MB."""
    path = tmp_path / "model.tflite"
    path.write_bytes(BOMBS[name])
    assert len(BOMBS[name]) < 2e6
    ran = hostile_files.run(AUDIT, str(path), limit=3 << 30)  # NumPy alone maps a gigabyte
    assert ran.code == 0, ran.errors
    assert [line.partition(" claim more bytes")[0] for line in ran.printed.splitlines()] == [
        f"refused: its {'names' if name == 'names' else 'parts'}"
    ] * 3
    assert ran.most_bytes < 300e6
    assert ran.seconds < 10


def test_an_audit_of_four_gigabytes_of_nothing_is_refused(tmp_path):
    path = tmp_path / "model.tflite"
    for head in (b"", bytes(4) + b"TFL3"):
        with path.open("wb") as stream:
            stream.write(head)
            stream.truncate(2**32)
        ran = hostile_files.run(AUDIT, str(path), limit=3 << 30)
        assert ran.printed.count("refused: it does not begin like a LiteRT model") == 3, ran
        assert ran.most_bytes < 300e6


def sparse_file(levels, shape):
    """A convolution whose kernel claims to be sparse, with one stored byte."""
    kernel = schema.schema.TensorT(shape=shape, type=schema.type_number("INT8"), buffer=1, name=b"kernel")
    kernel.sparsity = schema.schema.SparsityParametersT(traversalOrder=list(range(len(shape))), dimMetadata=levels)
    model = schema.schema.ModelT(operatorCodes=[], description=b"", version=3)
    model.buffers = [schema.schema.BufferT(), schema.schema.BufferT(data=np.zeros(1, np.uint8))]
    image = schema.schema.TensorT(shape=[1, 2], type=schema.type_number("INT8"), buffer=0, name=b"image")
    graph = schema.schema.SubGraphT(tensors=[image, kernel], inputs=[0], outputs=[0])
    graph.operators = [schema.operator(model, "FULLY_CONNECTED", [0, 1], [0])]
    model.subgraphs = [graph]
    return schema.pack(model)


def sparse_level(segments, indices):
    last = schema.schema.DimensionMetadataT(format=schema.schema.DimensionType.SPARSE_CSR)
    last.arraySegmentsType = last.arrayIndicesType = schema.schema.SparseIndexVector.Int32Vector
    last.arraySegments, last.arrayIndices = schema.schema.Int32VectorT(), schema.schema.Int32VectorT()
    last.arraySegments.values, last.arrayIndices.values = np.array(segments, "i4"), np.array(indices, "i4")
    return last


@pytest.mark.parametrize("size", [2, 2**16, 2**31 - 1])
@pytest.mark.parametrize("segments", [[0, 1, 1], [0, 2**31 - 1, 1], [-5, 2, 9]])
def test_an_audit_of_a_sparse_tensor_takes_no_memory_that_it_only_claims(tmp_path, size, segments):
    path = tmp_path / "model.tflite"
    level = schema.schema.DimensionMetadataT(denseSize=size)
    path.write_bytes(sparse_file([level, sparse_level(segments, [1])], [size, 2]))
    tracemalloc.start()
    if (size, segments) == (2, [0, 1, 1]):
        assert [row["zeros"] for row in flatbuffer.read_weights(path, {})] == [4]  # the control
    else:
        with pytest.raises(FormatError, match="damaged"):
            flatbuffer.read_weights(path, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_sound_files_are_not_refused(saved):
    """The control: what the converter writes passes."""
    for name, dtype in (("float32", "float32"), ("dynamic_int8", "int8")):
        path = saved / f"{name}.tflite"
        require_tree(memoryview(path.read_bytes()))
        rows = flatbuffer.read_weights(path, {})
        assert [row["dtype"] for row in rows][:1] == [dtype] or name == "dynamic_int8"
        assert {tuple(sorted(row["shape"])) for row in rows} == {(2, 3, 3, 8), (4, 8)}
        assert flatbuffer.read_activations(path)


@hypothesis.settings(max_examples=2 * EXAMPLES, deadline=None)
@hypothesis.given(data=strategies.data(), name=strategies.sampled_from(["float32", "dynamic_int8"]))
def test_an_audit_of_damaged_bytes_raises_nothing_but_a_format_error(saved, tmp_path_factory, data, name):
    content = damaged((saved / f"{name}.tflite").read_bytes(), data)
    path = tmp_path_factory.getbasetemp() / "damaged.tflite"
    path.write_bytes(content)
    for audit in AUDITS.values():
        tracemalloc.start()
        with contextlib.suppress(FormatError):
            assert isinstance(audit(path), list)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6


@hypothesis.settings(max_examples=EXAMPLES, deadline=None)
@hypothesis.given(content=strategies.binary(max_size=400))
def test_random_bytes_raise_nothing_but_a_format_error(content):
    with pytest.raises(FormatError):
        schema.unpack(content[:4] + b"none" + content)
    with contextlib.suppress(FormatError):
        assert schema.unpack(b"\x10\x00\x00\x00TFL3" + content).version >= 0
