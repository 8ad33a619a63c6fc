"""The command segopt-export, run as a program, and its errors, one line each."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.compat import keras
from segopt_callbacks.export import command, read_metadata
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.intake import load_model
from tests.export_models import CLASSES, IMAGES, LABELS, built, functional

MODULE = """
from segopt_callbacks.compat import keras
@keras.utils.register_keras_serializable("mine")
class Doubling(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, one with a class of the user's own, its module, and data in both forms."""
    folder = tmp_path_factory.mktemp("command")
    built(functional, IMAGES.astype("float32")).save(folder / "model.keras")
    (folder / "my_layers.py").write_text(MODULE)
    namespace: dict = {}
    exec(MODULE, namespace)
    keras.Sequential([keras.Input((4,)), namespace["Doubling"](), keras.layers.Dense(2)]).save(folder / "own.keras")
    np.savez(folder / "data.npz", x=IMAGES, y=LABELS)
    np.savez(folder / "x_only.npz", x=IMAGES)
    np.savez(folder / "uneven.npz", x=IMAGES, y=LABELS[:3])
    np.savez(folder / "none.npz", z=IMAGES)
    (folder / "photos" / "images").mkdir(parents=True)
    for index, image in enumerate(IMAGES[:4]):
        (folder / "photos" / "images" / f"{index}.png").write_bytes(tf.io.encode_png(image).numpy())
    (folder / "empty").mkdir()
    (folder / "sizes").mkdir()
    for size in (4, 8):
        (folder / "sizes" / f"{size}.png").write_bytes(tf.io.encode_png(IMAGES[0, :size]).numpy())
    (folder / "broken").mkdir()
    (folder / "broken" / "one.jpg").write_bytes(b"no image")
    (folder / "classes.json").write_text(json.dumps({"classes": ["road", "sky", "tree"]}))
    (folder / "text.keras").write_text("no model")
    return folder


@pytest.mark.either_keras
def test_the_program_exports_and_prints_the_table(folder):
    """In a process of its own, where nothing is imported yet and no class registered."""
    arguments = ["own.keras", "--import=my_layers", "--formats=float32", "--metadata=classes.json", "--no_latency"]
    code = "import sys; from segopt_callbacks.export.command import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "gzip bytes" in done.stdout
    assert "ms, 1 thread" not in done.stdout
    assert done.stderr == ""
    assert read_metadata(folder / "own_export" / "float32.tflite")["classes"] == ["road", "sky", "tree"]


HOSTILE = "import pathlib, os\npathlib.Path(__file__).with_name('was_run').touch()\nos._exit(9)\n"


@pytest.mark.either_keras
def test_a_program_imports_nothing_from_the_current_folder_unasked(folder, tmp_path):
    """Neither does any process that it starts."""
    for name in ("queue", "numpy", "tensorflow", "keras", "ai_edge_litert", "my_layers"):
        (tmp_path / f"{name}.py").write_text(HOSTILE)
    arguments = [folder / "model.keras", "--formats=float32", "--output_dir=out", "--no_latency"]
    # A console script has its own folder first on the path.
    code = "import sys; del sys.path[0]; from segopt_callbacks.export.command import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "float32.tflite").is_file()
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("data", ["data.npz", "x_only.npz", "photos"])
def test_data_of_every_kind_reach_an_integer_format(data, folder, tmp_path, capsys):
    where = ["--data", str(folder / data), "--output_dir", str(tmp_path / "out")]
    assert command.main([str(folder / "model.keras"), "--formats=int8", *where]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["verification"]["examples"] == (4 if data == "photos" else 10)
    (given,) = read_metadata(tmp_path / "out" / "int8.tflite")["inputs"]
    assert (given["shape"], given["dtype"]) == ([1, 16, 16, CLASSES], "uint8")
    assert "int8" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_models_in_every_form_that_keras_loads(folder, tmp_path):
    model = keras.models.load_model(folder / "model.keras")
    model.save(tmp_path / "model.h5")
    is_keras_2 = compat.is_keras_2(model)
    forms = [folder / "model.keras", tmp_path / "model.h5"]
    if is_keras_2:
        model.save(tmp_path / "folder")
        forms.append(tmp_path / "folder")
    for form in forms:
        np.testing.assert_allclose(load_model(form)(IMAGES[:1]), model(IMAGES[:1]), rtol=1e-4, atol=1e-3)
    if not is_keras_2:
        (tmp_path / "folder").mkdir()
        with pytest.raises(command.CommandError, match="if Keras 2 has saved it, run with TF_USE_LEGACY_KERAS=1"):
            load_model(tmp_path / "folder")


@pytest.mark.either_keras
def test_scaled_images_are_floats(folder, tmp_path):
    where = ["--data", str(folder / "photos"), "--output_dir", str(tmp_path), f"--scale={1 / 255}"]
    assert command.main([str(folder / "model.keras"), "--formats=int8", *where]) == 0
    (given,) = read_metadata(tmp_path / "int8.tflite")["inputs"]
    assert given["dtype"] == "int8"
    # Whole images are from 0 to 1, so that 256 steps of the scale are just that.
    assert given["quantization"]["scale"] * 255 == pytest.approx(1, abs=0.02)


ERRORS = [
    (["nowhere.keras"], "A path must exist; correct it. Received: nowhere.keras."),
    (["model.keras", "--data=nowhere"], "A path must exist; correct it. Received: nowhere."),
    (
        ["model.keras", "--formats=int9"],
        "`--formats` must be known; correct it. Did you mean 'int8'? Received: 'int9'. Known: saved_model,",
    ),
    (["model.keras", "--formats="], "`--formats` must name at least one format"),
    (["model.keras", "--formats=int8"], "pass `--data`. Received: neither."),
    (["model.keras", "--float_fallback", "--allow_float=ELU"], "pass it, or `--allow_float`. Received: both"),
    (["model.keras", "--time_limit=0"], "`--time_limit` must be a number of seconds above 0"),
    (["model.keras", "--metadata=data.npz"], "`--metadata` must be a JSON file"),
    (["model.keras", "--import=no_such_module"], "`--import` must name a module that Python finds from here"),
    (["text.keras"], "text.keras cannot be loaded;"),
    (["model.keras", "--data=none.npz"], "an array x and, if there are any, y. Received: none.npz"),
    (["model.keras", "--data=classes.json"], "an array x and, if there are any, y. Received: classes.json"),
    (
        ["model.keras", "--data=uneven.npz"],
        "as many in y as in x. Received: x of shape (10, 16, 16, 3), y of shape (3,",
    ),
    (["model.keras", "--data=empty"], "`--data` must hold images (.png, .jpg). Received: empty"),
    (
        ["model.keras", "--data=sizes"],
        "Images must have one size; crop them. Received: 4.png of shape (4, 16, 3), 8.png",
    ),
    (["model.keras", "--data=broken"], "An image must be a PNG or JPEG file. Received: broken/one.jpg"),
]


@pytest.mark.parametrize(("arguments", "line"), ERRORS, ids=[" ".join(arguments) for arguments, _ in ERRORS])
def test_an_error_is_one_line_with_rule_value_and_remedy(arguments, line, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert command.main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("segopt-export: ")
    assert line in said.err
    assert said.err.count("\n") == 1
    assert not pathlib.Path("model_export").exists()


def test_a_class_that_nobody_has_registered_is_asked_for(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    registered = dict(keras.utils.get_custom_objects())
    keras.utils.get_custom_objects().clear()
    try:
        assert command.main(["own.keras"]) == 2
    finally:
        keras.utils.get_custom_objects().update(registered)
    assert "own.keras cannot be loaded; Keras does not know its 'Doubling': pass `--import=" in (
        said := capsys.readouterr().err
    )
    assert ":Doubling`, or decorate it with `@keras.utils.register_keras_serializable()` and pass `--import=" in said


def test_a_format_that_fails_is_exit_code_1(folder, tmp_path, monkeypatch, capsys):
    from tests.export import export_targets
    from tests.export.test_export import damage

    damage(monkeypatch, "float32", write=export_targets.write_nothing_and_raise)
    arguments = [str(folder / "model.keras"), "--formats=float32,saved_model", f"--output_dir={tmp_path}"]
    assert command.main(arguments) == 1
    assert capsys.readouterr().err.startswith("segopt-export: Export failed for 1 format: float32: writing it raised")
    assert (tmp_path / "saved_model").is_dir()


@pytest.mark.either_keras
def test_help_tells_of_both_kerases_and_names_every_format(capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "TF_USE_LEGACY_KERAS=1" in text
    assert all(name in text for name in TARGETS)


@pytest.mark.either_keras
def test_an_extra_that_is_not_installed_is_named(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command.main(["model.keras", "--formats=onnx"]) == 2
    assert "run `pip install 'segopt-callbacks[onnx]'`" in capsys.readouterr().err
