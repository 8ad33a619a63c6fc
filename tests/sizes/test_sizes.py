"""The ledger's numbers against `os.stat`, the real gzip program and the libraries that wrote the files."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import strategies

from segopt_callbacks import compat, sizes
from segopt_callbacks.compat import keras
from segopt_callbacks.sizes.text import why

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=40_000).astype("float32")
CONTENTS = {
    "empty": b"",
    "text": b"one line of text\n" * 500,
    "random": RNG.bytes(70_000),
    "float32": KERNEL.tobytes(),
    "pruned": (KERNEL * (RNG.random(KERNEL.shape) > 0.8)).tobytes(),
    "clustered": RNG.normal(size=16).astype("float32")[RNG.integers(0, 16, 40_000)].tobytes(),
}
needs_gzip = pytest.mark.skipif(shutil.which("gzip") is None, reason="no gzip program")


def gzip_prints(path) -> int:
    return len(subprocess.run(["gzip", "-9", "-n", "-c", str(path)], check=True, stdout=subprocess.PIPE).stdout)


@needs_gzip
@pytest.mark.parametrize("name", CONTENTS)
def test_gzip_bytes_is_what_the_program_prints(tmp_path, name):
    file = tmp_path / f"{name} weights.bin"
    file.write_bytes(CONTENTS[name])
    assert sizes.gzip_bytes(file) == gzip_prints(file)
    assert sizes.file_bytes(file) == len(CONTENTS[name])


@pytest.mark.parametrize("name", CONTENTS)
def test_without_the_program_zlib_is_within_one_percent(tmp_path, name, monkeypatch):
    file = tmp_path / "weights.bin"
    file.write_bytes(CONTENTS[name])
    expected = sizes.gzip_bytes(file)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert sizes.gzip_bytes(file) == pytest.approx(expected, rel=0.012)


@needs_gzip
def test_a_folder_is_the_sum_of_its_files(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    files = [tmp_path / "a" / "one", tmp_path / "a" / "b" / "two.gz"]
    for file, content in zip(files, (CONTENTS["text"], CONTENTS["random"]), strict=True):
        file.write_bytes(content)
    assert sizes.file_bytes(tmp_path) == len(CONTENTS["text"]) + len(CONTENTS["random"])
    with files[1].open("rb") as stream:
        second = len(subprocess.run(["gzip", "-9", "-n"], check=True, stdin=stream, stdout=subprocess.PIPE).stdout)
    assert sizes.gzip_bytes(tmp_path / "a") == gzip_prints(files[0]) + second


def test_options_of_the_users_own_do_not_count(tmp_path, monkeypatch):
    file = tmp_path / "weights.bin"
    file.write_bytes(CONTENTS["float32"])
    expected = sizes.gzip_bytes(file)
    monkeypatch.setenv("GZIP", "-1")
    assert sizes.gzip_bytes(str(file)) == expected


def test_nothing_there(tmp_path):
    for count in (sizes.file_bytes, sizes.gzip_bytes):
        with pytest.raises(FileNotFoundError, match="absent"):
            count(tmp_path / "absent")


# --- what is inside --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    """A trained model, so that its optimizer has state: 32 * 64 + 64 + 64 * 16 + 16 values, momentum likewise."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(64), keras.layers.Dense(16)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.fit(RNG.normal(size=(8, 32)), RNG.normal(size=(8, 16)), verbose=0)
    return model


WEIGHT_BYTES = 4 * (32 * 64 + 64 + 64 * 16 + 16)


@pytest.fixture(scope="module")
def models(model, tmp_path_factory):
    """The model in every format that TensorFlow writes."""
    folder = tmp_path_factory.mktemp("models")
    model.save(folder / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that .h5 is a legacy format
        model.save(folder / "model.h5")
    kernels = [tf.Variable(compat.read(weight), name=compat.variable_path(weight)) for weight in model.weights]
    module = tf.Module()
    module.kernels = kernels

    @tf.function(input_signature=[tf.TensorSpec((1, 32), tf.float32)])
    def serve(inputs):
        return tf.matmul(tf.matmul(inputs, kernels[0]) + kernels[1], kernels[2]) + kernels[3]

    module.serve = serve
    tf.saved_model.save(module, str(folder / "saved_model"))
    module.twice = [tf.Variable(kernel) for kernel in kernels]
    tf.saved_model.save(module, str(folder / "twice"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
    (folder / "model.tflite").write_bytes(converter.convert())
    return folder


def weigh(path):
    ledger = sizes.read_ledger(path)
    assert ledger.whole_bytes == sizes.file_bytes(path)
    assert ledger.gzip_bytes == sizes.gzip_bytes(path)
    assert ledger.graph_bytes + ledger.weight_bytes + ledger.optimizer_bytes == ledger.whole_bytes
    return ledger


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_keras_files_tell_the_optimizer_apart(models, name):
    ledger = weigh(models / name)
    assert ledger.weight_bytes - WEIGHT_BYTES in (0, 8)  # Keras 2 keeps the state of the metric `loss` too
    assert WEIGHT_BYTES <= ledger.optimizer_bytes <= WEIGHT_BYTES + 64  # and the step, and the learning rate
    assert "optimizer state" in why(ledger)


def test_saved_model_keeps_its_weights_beside_the_graph(models):
    ledger = weigh(models / "saved_model")
    reader = tf.train.load_checkpoint(str(models / "saved_model" / "variables" / "variables"))
    stored = [reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    assert sum(value.nbytes for value in stored if value.dtype == np.float32) == WEIGHT_BYTES
    assert WEIGHT_BYTES <= ledger.weight_bytes <= WEIGHT_BYTES + 128  # small constants, and the save counter
    assert ledger.duplicate_bytes == 0
    assert "weights are in variables/" in why(ledger)


def test_weights_that_are_stored_twice_are_pointed_out(models):
    ledger = weigh(models / "twice")
    assert ledger.duplicate_bytes == 4 * (32 * 64 + 64 * 16)  # biases are too small to tell copies from chance
    assert "second copies" in why(ledger)


def test_keras_export_is_understood(model, tmp_path):
    with contextlib.redirect_stdout(io.StringIO()):
        model.export(tmp_path / "exported")
    ledger = weigh(tmp_path / "exported")
    assert ledger.weight_bytes >= WEIGHT_BYTES
    copies = {0: 1, 4 * (32 * 64 + 64 * 16): 2}[ledger.duplicate_bytes]  # Keras 3 writes weights twice
    assert ledger.weight_bytes == pytest.approx(copies * WEIGHT_BYTES, abs=256)


def test_a_bare_graph_is_not_the_model(models):
    ledger = weigh(models / "saved_model" / "saved_model.pb")
    assert ledger.weight_bytes < 128
    assert ledger.absent_variables == 4
    assert "graph alone" in why(ledger)
    assert "weigh the folder" in why(ledger)


def test_a_saved_model_without_its_variables(models, tmp_path):
    shutil.copy(models / "saved_model" / "saved_model.pb", tmp_path)
    assert "variables/ is missing" in why(weigh(tmp_path))


def test_constants_in_a_graph_are_weights(model, tmp_path):
    kernel = compat.read(model.weights[0])
    module = tf.Module()
    module.serve = tf.function(lambda x: x @ kernel, input_signature=[tf.TensorSpec((1, 32), tf.float32)])
    tf.saved_model.save(module, str(tmp_path))
    ledger = weigh(tmp_path)
    assert ledger.weight_bytes == pytest.approx(kernel.nbytes, abs=128)
    assert ledger.absent_variables == 0
    assert "constants of the graph" in why(ledger)


def test_tflite_as_its_own_schema_reads_it(models):
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    parsed = schema.Model.GetRootAs((models / "model.tflite").read_bytes(), 0)
    graph = parsed.Subgraphs(0)
    used = {graph.Tensors(index).Buffer() for index in range(graph.TensorsLength())}
    expected = sum(parsed.Buffers(index).DataLength() for index in used)
    ledger = weigh(models / "model.tflite")
    assert ledger.weight_bytes == expected >= 4 * (32 * 64 + 64 * 16)
    assert ledger.dtype == "float32"


def onnx_model(initializers: list[bytes], *, location: str = "") -> bytes:
    """A model of raw initializers, encoded by protobuf itself from ONNX's published field numbers."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="onnx_subset.proto", package="subset", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in {
        "Entry": [("key", 1, kinds.TYPE_STRING, ""), ("value", 2, kinds.TYPE_STRING, "")],
        "Tensor": [
            ("dims", 1, kinds.TYPE_INT64, ""),
            ("data_type", 2, kinds.TYPE_INT32, ""),
            ("float_data", 4, kinds.TYPE_FLOAT, ""),
            ("raw_data", 9, kinds.TYPE_BYTES, ""),
            ("external_data", 13, kinds.TYPE_MESSAGE, ".subset.Entry"),
        ],
        "Attribute": [("name", 1, kinds.TYPE_STRING, ""), ("t", 5, kinds.TYPE_MESSAGE, ".subset.Tensor")],
        "Node": [("op_type", 4, kinds.TYPE_STRING, ""), ("attribute", 5, kinds.TYPE_MESSAGE, ".subset.Attribute")],
        "Graph": [
            ("node", 1, kinds.TYPE_MESSAGE, ".subset.Node"),
            ("initializer", 5, kinds.TYPE_MESSAGE, ".subset.Tensor"),
        ],
        "Model": [("ir_version", 1, kinds.TYPE_INT64, ""), ("graph", 7, kinds.TYPE_MESSAGE, ".subset.Graph")],
    }.items():
        described = file.message_type.add(name=message)
        for name, number, kind, type_name in fields:
            described.field.add(name=name, number=number, type=kind, label=kinds.LABEL_REPEATED)
            if type_name:
                described.field[-1].type_name = type_name
    pool.Add(file)
    model = message_factory.GetMessageClass(pool.FindMessageTypeByName("subset.Model"))()
    model.ir_version.append(8)
    graph = model.graph.add()
    for raw in initializers:
        graph.initializer.add(data_type=[1], dims=[len(raw) // 4], raw_data=[raw])
    graph.initializer.add(data_type=[1], dims=[3], float_data=[1.0, 2.0, 3.0])
    graph.node.add(op_type=["Constant"]).attribute.add(name=["value"]).t.add(data_type=[1], raw_data=[bytes(8)])
    if location:
        graph.initializer.add(data_type=[1]).external_data.add(key=["location"], value=[location])
    return model.SerializeToString()


def test_onnx_initializers_and_constants(tmp_path):
    kernel = KERNEL[:1000].tobytes()
    (tmp_path / "model.onnx").write_bytes(onnx_model([kernel, kernel]))
    ledger = weigh(tmp_path / "model.onnx")
    assert ledger.weight_bytes == 2 * 4000 + 12 + 8
    assert ledger.duplicate_bytes == 4000


def test_onnx_weights_in_a_file_beside_it(tmp_path):
    (tmp_path / "model.onnx").write_bytes(onnx_model([], location="model.data"))
    with pytest.raises(sizes.CorruptFileError, match=r"model\.data.*not beside it"):
        sizes.read_ledger(tmp_path / "model.onnx")
    (tmp_path / "model.data").write_bytes(bytes(5000))
    ledger = sizes.read_ledger(tmp_path / "model.onnx")
    assert ledger.weight_bytes == 5000 + 12 + 8
    assert ledger.whole_bytes == 5000 + sizes.file_bytes(tmp_path / "model.onnx")


# --- the command -----------------------------------------------------------------------------------------------------


def test_command_weighs_a_folder_and_explains(models, capsys):
    assert sizes.main([str(models)]) == 0
    printed = capsys.readouterr().out
    for name in ("model.keras", "model.h5", "model.tflite", "saved_model", "twice"):
        line = next(line for line in printed.splitlines() if line.startswith(str(models / name)))
        assert f"{sizes.file_bytes(models / name):,}" in line
    assert printed.count("why:") == 5
    assert "times the size of" in printed.splitlines()[-1]


def test_command_prints_json(models, capsys):
    assert sizes.main(["--json", str(models / "model.tflite"), str(models / "model.tflite")]) == 0
    (ledger,) = json.loads(capsys.readouterr().out)["models"]
    assert ledger["whole_bytes"] == sizes.file_bytes(models / "model.tflite")
    assert ledger["why"]


def test_command_as_a_user_runs_it(models):
    command = [sys.executable, "-c", "import sys; from segopt_callbacks.sizes import main; sys.exit(main())"]
    ran = subprocess.run([*command, "absent.tflite"], check=False, capture_output=True, text=True, cwd=models)
    assert ran.returncode == 2
    assert "absent.tflite cannot be weighed: No such file or directory." in ran.stderr
    assert "Traceback" not in ran.stderr


def hostile(models):
    """Files that are not what their names say: name -> bytes."""
    tflite = (models / "model.tflite").read_bytes()
    onnx = onnx_model([KERNEL.tobytes()])
    graph = (models / "saved_model" / "saved_model.pb").read_bytes()
    four_gigabytes = b"\xff\xff\xff\xff\x0f"
    cases = {
        "claims.tflite": tflite[:4] + b"TFL3" + b"\xff" * 64,
        "claims.onnx": b"\x3a" + four_gigabytes + b"abc",
        "claims.pb": b"\x12" + four_gigabytes + b"abc",
        "bomb.keras": bomb(),
        "other.keras": zipped({"readme.txt": b"hello"}),
        "broken.keras": zipped({"config.json": b"{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n" + b"\xff" * 500}),
    }
    for suffix in ("keras", "h5", "tflite", "onnx", "pb"):
        whole = {"tflite": tflite, "onnx": onnx, "pb": graph}.get(suffix) or (models / f"model.{suffix}").read_bytes()
        cases |= {f"empty.{suffix}": b"", f"random.{suffix}": RNG.bytes(5000)}
        cases |= {f"half.{suffix}": whole[: len(whole) // 2], f"less.{suffix}": whole[:-200]}
    return cases


def zipped(members: dict[str, bytes], **arguments) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **arguments) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def bomb() -> bytes:
    return zipped({"config.json": b"{}", "model.weights.h5": bytes(10**7)}, compression=zipfile.ZIP_DEFLATED)


def test_hostile_files_get_one_line_and_exit_code_2(models, tmp_path, capsys):
    for name, content in hostile(models).items():
        file = tmp_path / name
        file.write_bytes(content)
        tracemalloc.start()
        code = sizes.main([str(file)])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        printed = capsys.readouterr()
        if name.startswith("less.tflite"):
            continue  # what is cut off there may be nothing that the ledger counts
        assert code == 2, f"{name}: {printed.out}"
        assert printed.err.count("\n") == 1, printed.err
        assert str(file) in printed.err
        assert peak < 30e6, name


@pytest.mark.parametrize("suffix", ["keras", "h5", "tflite", "onnx", "pb"])
def test_four_gigabytes_of_nothing(suffix, tmp_path, capsys):
    file = tmp_path / f"huge.{suffix}"
    with file.open("wb") as stream:
        stream.truncate(2**32)  # a sparse file, which takes no room on the disk
    assert sizes.main([str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_names_that_no_terminal_takes(models, tmp_path, capsys):
    for name in ("two\nlines.tflite", "\udcff.tflite"):
        shutil.copy(models / "model.tflite", tmp_path / name)
        (tmp_path / f"bad {name}").write_bytes(b"")
    assert sizes.main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1 + 2 * 2
    assert r"two\nlines.tflite" in printed.out
    assert printed.err.count("\n") == 2


def test_a_ledger_of_another_kind_of_file(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(sizes.CorruptFileError, match="must end in one of"):
        sizes.read_ledger(tmp_path / "notes.txt")


def test_a_damaged_saved_model(models, tmp_path, capsys):
    for name, damage in {
        "shard": lambda folder: (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"short"),
        "index": lambda folder: (folder / "variables" / "variables.index").write_bytes(RNG.bytes(300)),
        "empty": lambda folder: (folder / "variables" / "variables.index").write_bytes(b""),
        "graph": lambda folder: (folder / "saved_model.pb").write_bytes(b""),
    }.items():
        folder = tmp_path / name
        shutil.copytree(models / "saved_model", folder)
        damage(folder)
        assert sizes.main([str(folder)]) == 2
        assert str(folder) in capsys.readouterr().err


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(data=strategies.data())
def test_damaged_bytes_never_escape_as_another_error(models, data):
    name = data.draw(strategies.sampled_from(["model.tflite", "saved_model/saved_model.pb", "model.h5", "model.keras"]))
    content = bytearray((models / name).read_bytes())
    for _ in range(data.draw(strategies.integers(1, 8))):
        position = data.draw(strategies.integers(0, min(len(content) - 1, 4000)))
        content[position] = data.draw(strategies.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        damaged = Path(folder) / Path(name).name
        damaged.write_bytes(content)
        with contextlib.suppress(sizes.CorruptFileError):
            ledger = sizes.read_ledger(damaged)
            assert 0 <= ledger.weight_bytes <= ledger.whole_bytes


def test_a_good_file_is_weighed_beside_a_bad_one(models, tmp_path, capsys):
    (tmp_path / "bad.tflite").write_bytes(b"not a model")
    assert sizes.main([str(tmp_path / "bad.tflite"), str(models / "model.tflite")]) == 2
    printed = capsys.readouterr()
    assert str(models / "model.tflite") in printed.out
    assert "bad.tflite" in printed.err


def test_nothing_that_is_a_model(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("hello")
    assert sizes.main([str(tmp_path), str(tmp_path / "notes.txt")]) == 2
    errors = capsys.readouterr().err
    assert "holds no model" in errors
    assert "its name must end in one of" in errors
