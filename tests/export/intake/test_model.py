"""Saved models that mean no good, and classes that Keras does not know: nothing is run or imported unasked."""

import io
import json
import os
import pathlib
import subprocess
import sys
import warnings
import zipfile

import h5py
import numpy as np
import pytest

from segopt_callbacks import compat
from segopt_callbacks.compat import keras
from segopt_callbacks.export import command
from segopt_callbacks.export.intake import CommandError, check_model, import_own, load_model

IS_KERAS_2 = compat.is_keras_2(keras.layers.ReLU())
OWN = """
import tensorflow as tf
class Net(tf.keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.dense = tf.keras.layers.Dense(2)
    def call(self, inputs):
        return self.dense(inputs)
class Twice(tf.keras.layers.Layer):
    def call(self, inputs):
        return 2.0 * inputs
def halved(inputs):
    return 0.5 * inputs
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's own, whose classes nobody has registered."""
    (tmp_path / "own_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield __import__("own_of_a_test")
    del sys.modules["own_of_a_test"]


def saved(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about .h5
        model.save(str(path))
    return path


def refused(path, *arguments):
    """The one line on stderr."""
    error, before = io.StringIO(), sys.stderr
    sys.stderr = error
    try:
        assert command.main([str(path), "--formats=float32", *arguments]) == 2
    finally:
        sys.stderr = before
    assert error.getvalue().count("\n") == 1
    assert not path.with_name(f"{path.stem}_export").exists()
    return error.getvalue()


# --- code ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m_saved"])
def test_no_code_of_a_file_is_run_unless_it_is_asked_for(tmp_path, name):
    if name == "m_saved" and not IS_KERAS_2:
        pytest.skip("Keras 3 writes no such folder")
    mark = tmp_path / "ran"
    function = eval(f"lambda x: (__import__('pathlib').Path({str(mark)!r}).touch() or 0) or x")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(function), keras.layers.Dense(2)])
    path = saved(model, tmp_path / name)
    mark.unlink(missing_ok=True)
    for legacy in "01":
        code = "import sys; from segopt_callbacks.export.command import main; sys.exit(main(sys.argv[1:]))"
        environment = {
            **os.environ,
            "TF_USE_LEGACY_KERAS": legacy,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), "--formats=float32"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 2, done.stderr
        assert "with code of" in done.stderr
        assert "TF_USE_LEGACY_KERAS" not in done.stderr
        assert "--unsafe" not in done.stderr, "nobody is advised to run it"
        assert not mark.exists()
    load_model(path, unsafe=True)(np.zeros((1, 4), "float32"))
    assert mark.exists()


HARMFUL = {
    "lambda": {"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}},
    "function_of_a_module": {"module": "keras.utils", "class_name": "function", "config": "get_file"},
    "through_an_import": {"module": "tf_keras.src.activations", "class_name": "function", "config": "os.system"},
    "of_python": {"module": "builtins", "class_name": "function", "config": "exec"},
    "loads_a_model": {"module": "keras.models", "class_name": "function", "config": "load_model"},
    "saved_model_layer": {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "elsewhere"}},
    "writes_a_file": {"class_name": "TFOpLambda", "config": {"function": "io.write_file"}},
    "calls_python": {"class_name": "TFOpLambda", "config": {"function": "compat.v1.py_func"}},
    "reads_a_file": {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
}


@pytest.mark.either_keras
@pytest.mark.parametrize("name", HARMFUL)
def test_what_reaches_out_of_a_model_is_refused_wherever_it_stands(tmp_path, name):
    layers = [{"class_name": "Dense", "config": {"activation": HARMFUL[name]}}]
    config = {"class_name": "Sequential", "config": {"layers": layers}}
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
    for path in (tmp_path / "m.keras", tmp_path / "m.h5"):
        with pytest.raises(CommandError, match="A file must bring no code or calls of its own"):
            check_model(path)
    os.rename(tmp_path / "m.h5", tmp_path / "m.keras")
    with pytest.raises(CommandError, match="A file must bring no code"):
        check_model(tmp_path / "m.keras")  # Keras 2 looks at the content, not at the name


@pytest.mark.either_keras
def test_a_graph_that_writes_files_is_refused(tmp_path):
    import tensorflow as tf

    class Writes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def serve(self, text):
            tf.io.write_file(str(tmp_path / "written"), text)
            return text

    tf.saved_model.save(Writes(), str(tmp_path / "m"))
    with pytest.raises(CommandError, match="the operation WriteFile, which reaches out of the graph"):
        check_model(tmp_path / "m")


def test_sound_models_pass(tmp_path):
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2", kernel_constraint="non_neg")(inputs)
    hidden = keras.layers.Rescaling(2.0, 1.0)(keras.layers.BatchNormalization()(hidden))
    hidden = keras.layers.Dense(3, activation=keras.activations.gelu, dtype="mixed_float16")(hidden)
    hidden = keras.Sequential([keras.layers.Dropout(0.5), keras.layers.GlobalAveragePooling2D()])(hidden)
    hidden = keras.layers.Dense(8, kernel_initializer=keras.initializers.HeNormal(1))(hidden)
    hidden = keras.layers.GRU(4)(keras.layers.Reshape((2, 4))(hidden))
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile("adam", "mse")
    example = np.ones((1, 8, 8, 3), "float32")
    for name in ("m.keras", "m.h5", *(["m"] if IS_KERAS_2 else [])):
        path = saved(model, tmp_path / name)
        assert check_model(path)
        np.testing.assert_allclose(load_model(path)(example), model(example), rtol=1e-3, atol=1e-3)


# --- files -----------------------------------------------------------------------------------------------------------


def zipped(path, **members):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of zipfile, about names that come twice
        for name, content in {"config.json": "{}", **members}.items():
            archive.writestr(name, content)
    return path


def link():
    info = zipfile.ZipInfo("assets")
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"../../evil.py": "x"}, "leads out of it"),
        ({"/tmp/evil.py": "x"}, "leads out of it"),
        ({"a\\..\\..\\evil.py": "x"}, "leads out of it"),
        ({"bomb.json": bytes(300 << 20)}, "claims 314,572,800 bytes out of"),
    ],
)
def test_a_zip_that_leads_out_of_itself_or_is_a_bomb(tmp_path, members, words):
    assert words in refused(zipped(tmp_path / "m.keras", **members))


@pytest.mark.either_keras
def test_a_zip_with_a_link_or_a_name_twice(tmp_path):
    with zipfile.ZipFile(zipped(tmp_path / "link.keras"), "a") as archive:
        archive.writestr(link(), "/etc")
    assert "its member 'assets' is a link" in refused(tmp_path / "link.keras")
    with warnings.catch_warnings(), zipfile.ZipFile(zipped(tmp_path / "twice.keras"), "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("config.json", "[]")
    assert "'config.json' is there twice" in refused(tmp_path / "twice.keras")


@pytest.mark.either_keras
def test_an_hdf5_file_that_reaches_into_others_or_claims_too_much(tmp_path):
    def made(name, make):
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs["model_config"] = "{}"
            make(file)
        return tmp_path / name

    (tmp_path / "secret").write_bytes(b"secret" * 100)
    external = [(str(tmp_path / "secret"), 0, 400)]
    linked = made("linked.h5", lambda file: file.__setitem__("w", h5py.ExternalLink("other.h5", "/w")))
    assert "'w' is a link" in refused(linked)
    beside = made("beside.h5", lambda file: file.create_dataset("w", (100,), "float32", external=external))
    assert "'w' has its values in another file" in refused(beside)
    claims = made("claims.h5", lambda file: file.create_dataset("w", (1 << 40,), "float32", chunks=(1024,)))
    assert "'w' claims 4,398,046,511,104 bytes out of 0" in refused(claims)


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.array(["a", "b"])}, "must hold numbers"),
        ({"x": np.array([{}, []], dtype=object)}, "Object arrays cannot be loaded"),
        ({"x": np.zeros((2, 4)), "y": np.array(["a", "b"])}, "with y of dtype <U1"),
        ({"x": np.zeros((2, 4)), "evil": np.zeros(2)}, "it holds evil.npy, x.npy"),
        ({"x": np.zeros((2, 4), "complex64")}, "with x of dtype complex64"),
        ({"x": np.zeros((2, 4)), "y": np.zeros(())}, "as many in y as in x"),
    ],
)
def test_data_that_are_no_numbers(tmp_path, arrays, words):
    model = saved(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), tmp_path / "m.keras")
    np.savez(tmp_path / "data.npz", **arrays)
    assert words in refused(model, f"--data={tmp_path / 'data.npz'}")


# --- classes of the user's own ---------------------------------------------------------------------------------------


def test_a_class_that_nobody_has_registered_is_named_and_then_loaded(tmp_path, own, capsys):
    model = own.Net()
    example = np.ones((1, 4), "float32")
    want = np.asarray(model(example))
    path = saved(model, tmp_path / "net.keras")
    for arguments in ((), ("--import=own_of_a_test",)):
        told = refused(path, *arguments)
        assert "Keras does not know its 'Net': pass `--import=own_of_a_test:Net`, or decorate it with" in told
    np.savez(tmp_path / "data.npz", x=np.repeat(example, 3, axis=0))
    arguments = ["--import=own_of_a_test:Net", "--formats=float32", "--no_latency", "--data=data.npz"]
    assert command.main(["net.keras", *arguments]) == 0, capsys.readouterr().err
    assert (tmp_path / "net_export" / "float32.tflite").exists()
    np.testing.assert_allclose(load_model(path, import_own(["own_of_a_test:Net"]))(example), want, rtol=1e-5)


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_layers_and_functions_that_nobody_has_registered(tmp_path, own, name):
    # Keras 2 itself cannot load functions of .h5 files.
    activation = "relu" if IS_KERAS_2 and name == "m.h5" else own.halved
    model = keras.Sequential([keras.Input((4,)), own.Twice(), keras.layers.Dense(2, activation=activation)])
    path = saved(model, tmp_path / name)
    assert "'Twice': pass `--import=" in refused(path)
    if activation != "relu":
        assert "'halved': pass `--import=" in refused(path, "--import=own_of_a_test:Twice")
    trusted = import_own(["own_of_a_test:Twice", "own_of_a_test:halved"])
    example = np.ones((1, 4), "float32")
    np.testing.assert_allclose(load_model(path, trusted)(example), model(example), rtol=1e-5)


def test_no_module_that_only_a_file_names_is_imported(tmp_path, own):
    path = saved(keras.Sequential([keras.Input((4,)), own.Twice(), keras.layers.Dense(1)]), tmp_path / "m.keras")
    del sys.modules["own_of_a_test"]
    refused(path)
    assert "own_of_a_test" not in sys.modules
    sys.modules["own_of_a_test"] = own  # for the fixture


@pytest.mark.either_keras
def test_a_class_that_a_module_does_not_have(tmp_path, own):
    path = saved(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), tmp_path / "m.keras")
    assert "must name a class or function of the module; correct it. Received: own_of_a_test:Nett" in refused(
        path, "--import=own_of_a_test:Nett"
    )
    assert pathlib.Path(path).exists()
