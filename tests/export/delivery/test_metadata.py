"""What files tell about themselves, read back by us and by readers that we did not write."""

import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from segopt_callbacks import ExportQuantizedCallback, export_model, predict, read_metadata
from segopt_callbacks.export import ExportError, writing
from segopt_callbacks.export.delivery.metadata import KEY, embed, validate_metadata
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.source import Source
from segopt_callbacks.records.ports import Port
from tests import warm
from tests.export import export_targets
from tests.export.latency_targets import UNTIMED
from tests.export_models import CLASSES, DATA, Refused, built, fitted
from tests.test_docs import python_blocks

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "predict.md"
USER = {
    "classes": ["road", "tree", "sky"],
    "palette": [[90, 90, 90], [30, 140, 60], [120, 180, 255]],
    "input_scaling": "none: RGB, 0 to 255",
}
SMALL = ("tflm_int8", "ethos_u")  # bytes go in less 128
NAMES = tuple(name for name in TARGETS if name != "tflm_lut")  # the page's model has too many values for tables
DRAWN = tuple(name for name in NAMES if name != "ethos_u")  # which takes an Ethos-U


def run_block(block, folder):
    """A program of the page, in a process of its own."""
    cold = "sys.modules" in block  # it looks at what it has imported itself
    result = (subprocess if cold else warm).run(
        [sys.executable, "-c", UNTIMED + block if "export_model" in block else block],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Where the first program of docs/predict.md has exported a model in every format."""
    folder = tmp_path_factory.mktemp("page")
    run_block(python_blocks(PAGE)[0], folder)
    return folder


@pytest.fixture(scope="module")
def exported(page):
    folder = page / "exported"
    return folder, json.loads((folder / "report.json").read_text())


@pytest.mark.either_keras
@pytest.mark.parametrize("name", NAMES)
def test_every_file_tells_what_it_is_and_what_the_user_has_added(name, exported):
    folder, report = exported
    told = read_metadata(folder / TARGETS[name].file_name)
    assert told | USER == told
    assert told["format"] == name
    assert [port["name"] for port in (*told["inputs"], *told["outputs"])] == ["image", "logits"]
    assert told["inputs"][0]["shape"] == [None if name == "saved_model" else 1, 32, 32, 3]
    assert told["inputs"][0]["dtype"] == ("int8" if name in SMALL else "uint8")
    assert {"segopt-callbacks", "tensorflow"} < set(told["versions"])
    beside = json.loads((folder / f"{name}.json").read_text())
    assert beside == read_metadata(folder / f"{name}.json")
    entry = report["formats"][name]
    brief = {key: value for key, value in entry.items() if key not in ("weights", "activations")}
    assert beside.pop("report")["formats"] == {name: brief}
    assert beside == told
    assert report["metadata"] == USER


@pytest.mark.either_keras
@pytest.mark.parametrize("name", [name for name in DRAWN if TARGETS[name].file_name.endswith(".tflite")])
def test_a_litert_file_tells_the_dtypes_and_quantization_that_its_interpreter_has(name, exported):
    path = exported[0] / f"{name}.tflite"
    interpreter = Interpreter(str(path))
    told = read_metadata(path)
    for key, details in (("inputs", interpreter.get_input_details()), ("outputs", interpreter.get_output_details())):
        (port,), (detail,) = told[key], details
        assert port["dtype"] == np.dtype(detail["dtype"]).name
        quantization = port.get("quantization", {"scale": 0.0, "zero_point": 0})
        assert (quantization["scale"], quantization["zero_point"]) == pytest.approx(detail["quantization"])


@pytest.mark.either_keras
def test_readers_that_know_nothing_of_us_find_it(exported):
    folder, _ = exported
    content = (folder / "int8.tflite").read_bytes()
    model = schema_py_generated.Model.GetRootAs(content)
    buffers = {model.Metadata(i).Name().decode(): model.Metadata(i).Buffer() for i in range(model.MetadataLength())}
    assert len(buffers) > 1  # the converter's own is still there
    assert json.loads(model.Buffers(buffers[KEY]).DataAsNumpy().tobytes()) == read_metadata(folder / "int8.tflite")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "onnx.onnx"), providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map[KEY]) == read_metadata(folder / "onnx.onnx")
    inside = folder / "saved_model" / "assets.extra" / "metadata.json"
    assert json.loads(inside.read_text()) == read_metadata(folder / "saved_model")


@pytest.mark.either_keras
def test_without_metadata_of_the_users_a_file_grows_by_a_few_hundred_bytes(tmp_path, monkeypatch):
    sizes = {}
    for what in ("told", "untold"):
        if what == "untold":
            monkeypatch.setattr(writing, "embed", export_targets.embed_nothing)
        report = export_model(built(), tmp_path, ["float32", "int8", "onnx"], evaluation_data=DATA, verbose=0)
        sizes[what] = {name: entry["bytes"] for name, entry in report["formats"].items()}
        assert report["metadata"] == {}
    growth = {name: sizes["told"][name] - sizes["untold"][name] for name in sizes["told"]}
    assert all(200 < bytes_ < 600 for bytes_ in growth.values()), growth


@pytest.mark.either_keras
def test_reading_takes_no_tensorflow(exported):
    paths = [str(exported[0] / TARGETS[name].file_name) for name in ("int8", "onnx_int8", "saved_model")]
    code = (
        "import sys; from segopt_callbacks import read_metadata\n"
        f"print([read_metadata(path)['classes'][0] for path in {paths}])\n"
        "assert not {'tensorflow', 'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "['road', 'road', 'road']"


def test_the_callback_hands_it_on_and_refuses_what_is_none_before_the_training(tmp_path):
    given = {"classes": ["Böschung"], "palette": np.array([[1, 2, 3]], np.uint8)}
    with pytest.raises(ValueError, match="`metadata` must hold what JSON can"):
        ExportQuantizedCallback(tmp_path, ["float32"], metadata={"classes": {1, 2}})
    export = ExportQuantizedCallback(tmp_path, ["float32"], metadata=given, verbose=0)
    history = fitted(built(), export).history.history
    told = read_metadata(tmp_path / "float32.tflite")
    assert (told["classes"], told["palette"]) == (["Böschung"], [[1, 2, 3]])
    assert told["training"] == {"steps": 2, "last_epoch": {"loss": pytest.approx(history["loss"][-1])}}
    assert export.report["metadata"] == given | {"palette": [[1, 2, 3]], "training": told["training"]}


def test_a_format_that_fails_keeps_its_earlier_file_with_what_lies_beside_it(tmp_path):
    export_model(built(), tmp_path, ["float32"], evaluation_data=DATA, metadata={"run": 1}, verbose=0)
    with pytest.raises(ExportError):
        export_model(
            built(Refused), tmp_path, ["float32", "saved_model"], evaluation_data=DATA, metadata={"run": 2}, verbose=0
        )
    assert [read_metadata(tmp_path / name)["run"] for name in ("float32.tflite", "float32.json")] == [1, 1]
    assert [read_metadata(tmp_path / name)["run"] for name in ("saved_model", "saved_model.json")] == [2, 2]


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([1], "must map names"),
        ({1: "a"}, "must map names"),
        ({"a": math.nan}, "must hold what JSON can"),
        ({"a": object()}, "must hold what JSON can"),
        ({"a": "\ud800"}, "must hold what JSON can"),
        ({"inputs": []}, "rename inputs"),
        ({"classes": "road"}, r"\['classes'\]. must be a list of names"),
        ({"palette": [[0, 0, 256]]}, r"\['palette'\]. must be a list of colours"),
        ({"palette": [[0, 0, 0.5]]}, r"\['palette'\]. must be a list of colours"),
    ],
)
def test_what_no_file_can_tell_is_refused(metadata, message):
    with pytest.raises(ValueError, match=message):
        validate_metadata(metadata)


@pytest.mark.either_keras
def test_files_of_somebody_else_and_damaged_ones_are_refused_in_words(exported, tmp_path):
    folder, _ = exported
    for name in ("int8.tflite", "onnx.onnx", "int8.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes()[:-1000])
        with pytest.raises(ValueError, match="must be whole|holds no segopt_metadata"):
            read_metadata(tmp_path / name)
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "other.onnx").write_bytes(b"\x08\x0a")  # nothing but the version of ONNX
    (tmp_path / "other.json").write_text("[1]")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="must be whole"):
        read_metadata(tmp_path / "deep.json")
    for name in ("saved_model", "other.onnx", "other.json"):
        with pytest.raises(ValueError, match="holds no segopt_metadata"):
            read_metadata(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_metadata(tmp_path / "nothing.tflite")


@pytest.mark.either_keras
def test_a_file_of_a_kind_of_its_own_stays_as_it_is(tmp_path):
    (path := pathlib.Path(tmp_path / "mine.bin")).write_bytes(b"mine")
    port = Port("input", (1, 4), "float32")
    told = embed(path, "mine", Source(tmp_path, (port,), (port,), {"classes": ["a"] * CLASSES}), ["numpy"])
    assert path.read_bytes() == b"mine"
    assert told["versions"] == {"numpy": np.__version__}
    assert told["classes"] == ["a"] * CLASSES


# --- docs/predict.md -------------------------------------------------------------------------------------------------


@pytest.mark.either_keras
def test_each_program_of_the_page_is_complete_and_draws_the_map_of_the_model(page):
    for block in python_blocks(PAGE)[1:]:
        is_program = ".save(" in block and "import tensorflow" not in block
        watch = "import sys; assert not {'tensorflow', 'segopt_callbacks'} & set(sys.modules)" if is_program else ""
        run_block(f"{block}\n{watch}", page)
    maps = {name: np.asarray(Image.open(page / f"{name}.png")) for name in DRAWN}
    assert len(np.unique(maps["saved_model"].reshape(-1, 3), axis=0)) > 1
    for name, drawn in maps.items():
        equal = (drawn == maps["saved_model"]).all(-1).mean()
        assert equal >= (0.8 if name == "int4" else 0.95), name
        file = page / "exported" / TARGETS[name].file_name
        assert predict.main([str(file), str(page / "photo.png"), f"--out={page / name}"]) == 0
        with Image.open(page / name / "photo.png") as mask:
            np.testing.assert_array_equal(mask.convert("RGB"), drawn)


@pytest.mark.either_keras
def test_the_page_quantizes_as_the_file_says():
    namespace: dict = {}
    exec(next(block for block in python_blocks(PAGE) if "def quantize" in block), namespace)
    port = {"dtype": "int8", "quantization": {"scale": 0.5, "zero_point": -3}}
    integers = namespace["quantize"](np.array([-1e9, -1.0, 0.0, 1.2, 1e9]), port)
    assert integers.dtype == np.int8
    assert integers.tolist() == [-128, -5, -3, -1, 127]
    assert namespace["dequantize"](integers[1:4], port).tolist() == [-1.0, 0.0, 1.0]
