"""The whole way, `export_model` and the callback: what is delivered, what fails and how, and what is left behind."""

import dataclasses
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import segopt_callbacks
from segopt_callbacks import (
    ClusterOnTrainEndCallback,
    ExportQuantizedCallback,
    PruningScheduleCallback,
    compat,
    export_model,
)
from segopt_callbacks.compat import keras
from segopt_callbacks.export import ExportError
from segopt_callbacks.export.delivery.sidecars import sidecar_name
from segopt_callbacks.export.formats import TARGETS
from tests.conformance import compiled
from tests.export import export_targets
from tests.export_models import CLASSES, DATA, IMAGES, Refused, Segmenter, Wavy, answers, built, functional, state

ALL = tuple(name for name in TARGETS if name != "tflm_lut")  # which wants shared values; see tflm/test_tflm.py
NAMES = {TARGETS[name].file_name for name in ALL}
SIDECARS = {sidecar_name(name) for name in ALL}
REPORTS = {"report.json", "report.md", "report.html"}


def names(folder):
    """What is in it, but for what lies beside each format's file; see export/delivery/test_metadata.py."""
    return {path.name for path in pathlib.Path(folder).iterdir()} - SIDECARS


def gzipped(path):
    """Bytes by the program itself."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    commands = (["gzip", "-9", "-c", "-n", str(file)] for file in files)
    return sum(len(subprocess.run(command, capture_output=True, check=True).stdout) for command in commands)


def on_disk(path):
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(os.stat(file).st_size for file in files)


def cut(model, factor):
    """Makes float16 overflow, and nothing else: the kernel of the head times `factor`."""
    kernel = next(weight for weight in model.weights if "head/kernel" in compat.variable_path(weight))
    compat.assign(kernel, compat.read(kernel) * factor)


def test_answers_further_off_than_rounding_are_an_error(tmp_path, monkeypatch):
    """A tolerance that no converter meets stands in for a converter that changes the model."""
    monkeypatch.setitem(TARGETS, "float32", dataclasses.replace(TARGETS["float32"], tolerance=-1.0))
    with pytest.raises(ExportError, match=r"float32: its answers differ from the model's by .* more than rounding"):
        export_model(built(Segmenter), tmp_path, ("float32", "float16"), evaluation_data=DATA, verbose=0)
    assert names(tmp_path) == {"float16.tflite", *REPORTS}


def test_the_dtype_of_every_activation_is_reported(tmp_path):
    formats = export_model(built(Segmenter), tmp_path, ("float32", "int8"), evaluation_data=DATA, verbose=0)["formats"]
    dtypes = {name: {one["dtype"] for one in entry["activations"]} for name, entry in formats.items()}
    assert "float32" in dtypes["float32"]
    assert dtypes["int8"] <= {"int8", "uint8"}
    interpreter = Interpreter(str(tmp_path / "int8.tflite"))
    listed = {detail["name"]: np.dtype(detail["dtype"]).name for detail in interpreter.get_tensor_details()}
    for one in formats["int8"]["activations"]:
        assert listed[one["name"]] == one["dtype"]
    assert "Activations, inputs and outputs: " in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("make", [Segmenter, functional], ids=["subclassed", "functional"])
def test_every_format_is_delivered_and_agrees(tmp_path, make):
    images = IMAGES if make is Segmenter else (IMAGES / 255).astype("float32")
    model = built(make, images)
    before, expected = state(model), answers(model, images)
    metrics = {"accuracy": keras.metrics.SparseCategoricalAccuracy()}
    report = export_model(model, tmp_path, ALL, evaluation_data=(images, DATA[1]), metrics=metrics, verbose=0)
    assert names(tmp_path) == NAMES | REPORTS
    assert json.loads((tmp_path / "report.json").read_text()) == report
    for name, entry in report["formats"].items():
        assert entry["status"] == "ok"
        assert entry["largest_difference"] <= (0.3 if name == "int4" else 0.1) * np.abs(expected).max()
        assert entry["equal_argmax"] >= (0.8 if name == "int4" else 0.9)
        assert entry["metrics"]["accuracy"] == pytest.approx(report["model"]["metrics"]["accuracy"], abs=0.05)
        assert entry["bytes"] == on_disk(tmp_path / entry["file"])
        assert entry["gzip_bytes"] == gzipped(tmp_path / entry["file"])  # by the program itself
    assert all(np.array_equal(one, other) for one, other in zip(before, state(model), strict=True))


def test_the_saved_model_needs_no_keras_and_takes_any_batch(tmp_path):
    model = built()
    export_model(model, tmp_path, ["saved_model"], evaluation_data=DATA, verbose=0)
    serve = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    np.testing.assert_allclose(serve(tf.constant(IMAGES))["output"], answers(model), atol=1e-5)
    files = [path.name for path in (tmp_path / "saved_model").rglob("*")]
    assert "keras_metadata.pb" not in files


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.either_keras
def test_weights_that_are_nan_are_named_for_each_format(tmp_path):
    model = built()
    cut(model, np.nan)
    with pytest.raises(ExportError, match=r"weights hold NaN or infinity: .*head/kernel") as caught:
        export_model(model, tmp_path, evaluation_data=DATA, verbose=0)
    assert set(caught.value.causes) == {"saved_model", "float32", "int8"}
    assert names(tmp_path) == REPORTS


@pytest.mark.either_keras
def test_a_file_whose_weights_overflow_fails_and_the_others_are_delivered(tmp_path):
    """Weights above 65,504 do not fit into float16; the converter writes its largest number instead."""
    model = built()
    cut(model, 1e6)
    with pytest.raises(ExportError) as caught:
        export_model(model, tmp_path, ["float32", "float16", "int8"], evaluation_data=DATA, verbose=0)
    assert list(caught.value.causes) == ["float16"]
    assert re.search("weights overflow their dtype in the file: .*head", caught.value.causes["float16"])
    assert names(tmp_path) == {"float32.tflite", "int8.tflite"} | REPORTS
    entries = json.loads((tmp_path / "report.json").read_text())["formats"]
    assert entries["float16"]["status"] == "failed"
    assert entries["float32"]["status"] == entries["int8"]["status"] == "ok"


def test_a_float_operation_inside_int8_is_named(tmp_path):
    model = built(Wavy)
    with pytest.raises(ExportError, match=r"int8: operations compute in float32 in an integer file: .*SIN") as caught:
        export_model(model, tmp_path, ["float32", "int8"], evaluation_data=DATA, verbose=0)
    assert list(caught.value.causes) == ["int8"]
    assert names(tmp_path) == {"float32.tflite"} | REPORTS


def damage(monkeypatch, name, **functions):
    monkeypatch.setitem(TARGETS, name, dataclasses.replace(TARGETS[name], **functions))


def wide():
    """Weights enough to tell that a file lacks them."""
    return keras.Sequential([keras.layers.Conv2D(64, 3, activation="relu"), keras.layers.Conv2D(CLASSES, 3)])


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("too_small", "far too small for its parameters"),
        ("no_header", "it does not begin like a LiteRT model"),
        ("cut_off", "float32: "),
    ],
)
def test_a_damaged_file_is_not_delivered(tmp_path, monkeypatch, change, cause):
    images = (IMAGES / 255).astype("float32")
    model = built(wide, images)
    damage(monkeypatch, "float32", write=functools.partial(export_targets.write_damaged, "float32", change))
    with pytest.raises(ExportError, match=cause) as caught:
        export_model(model, tmp_path, ["float32", "saved_model"], evaluation_data=(images, images), verbose=0)
    assert list(caught.value.causes) == ["float32"]
    assert names(tmp_path) == {"saved_model"} | REPORTS


@pytest.mark.either_keras
@pytest.mark.parametrize(
    ("functions", "cause"),
    [
        ({"write": export_targets.write_nothing_and_raise}, "writing it raised KeyError: 'no such operation'"),
        ({"write": export_targets.write_and_die}, "its process was killed by SIGSEGV while writing it"),
        ({"write": export_targets.write_for_ever}, "writing it took longer than 20 seconds; raise `time_limit`"),
        ({"load": export_targets.load_and_die_later}, "its process was killed by SIGSEGV while running it"),
    ],
    ids=["raises", "crashes", "hangs", "crashes_later"],
)
def test_a_converter_or_runtime_that_goes_wrong_takes_no_other_format_with_it(tmp_path, monkeypatch, functions, cause):
    damage(monkeypatch, "float16", **functions)
    formats = ["float16", "float32", "int8", "saved_model"]
    data = tf.data.Dataset.from_tensor_slices(DATA).batch(4)
    with pytest.raises(ExportError, match=cause) as caught:
        export_model(built(), tmp_path, formats, evaluation_data=data, time_limit=20, verbose=0)
    assert list(caught.value.causes) == ["float16"]
    assert names(tmp_path) == {"float32.tflite", "int8.tflite", "saved_model"} | REPORTS


@pytest.mark.either_keras
def test_files_run_at_the_same_time(tmp_path, monkeypatch):
    """Each waits for another one."""
    for name in ("float32", "float16"):
        monkeypatch.setitem(TARGETS, name, dataclasses.replace(TARGETS[name], load=export_targets.load_and_meet))
    report = export_model(built(), tmp_path, ["float32", "float16"], evaluation_data=DATA, latency=False, verbose=0)
    assert {entry["status"] for entry in report["formats"].values()} == {"ok"}


@pytest.mark.either_keras
def test_what_waits_behind_a_crash_is_written_in_any_order_of_formats(tmp_path, monkeypatch):
    """The second one dies while others wait in its process; the one that is asked for first is written last."""
    dying = dataclasses.replace(TARGETS["float16"], write=export_targets.write_and_die)
    monkeypatch.setitem(TARGETS, "float16", dying)
    formats = ["int8", "float32", "float16", "saved_model", "dynamic_int8"]
    with pytest.raises(ExportError, match="its process was killed by SIGSEGV while writing it") as caught:
        export_model(built(), tmp_path, formats, evaluation_data=DATA, latency=False, verbose=0)
    assert list(caught.value.report["formats"]) == formats
    failed = [name for name, entry in caught.value.report["formats"].items() if entry["status"] != "ok"]
    assert failed == ["float16"]


@pytest.mark.either_keras
def test_an_operation_that_litert_lacks_is_named_in_one_line(tmp_path, capfd):
    with pytest.raises(ExportError, match="the converter refuses the model: .*Erf") as caught:
        export_model(built(Refused), tmp_path, ["float32", "saved_model"], evaluation_data=DATA, verbose=0)
    assert list(caught.value.causes) == ["float32"]
    assert len(str(caught.value)) < 400
    assert names(tmp_path) == {"saved_model"} | REPORTS
    assert len(capfd.readouterr().err) < 1000


@pytest.mark.either_keras
def test_warn_delivers_and_warns(tmp_path):
    with pytest.warns(UserWarning, match="Export failed for 1 format: int8: operations compute in float32") as warned:
        report = export_model(
            built(Wavy), tmp_path, ["int8", "float32"], evaluation_data=DATA, on_failure="warn", verbose=0
        )
    assert warned[-1].filename == __file__  # the line that has asked for the export
    assert report["formats"]["int8"]["status"] == "failed"
    assert report["formats"]["float32"]["status"] == "ok"


@pytest.mark.either_keras
def test_an_earlier_good_file_is_kept_when_the_new_one_fails(tmp_path):
    export_model(built(), tmp_path, evaluation_data=DATA, verbose=0)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.parent != tmp_path}
    before |= {path: path.read_bytes() for path in tmp_path.glob("*.tflite")}
    model = built()
    cut(model, np.nan)
    with pytest.raises(ExportError):
        export_model(model, tmp_path, evaluation_data=DATA, verbose=0)
    assert {path: path.read_bytes() for path in before} == before
    assert names(tmp_path) == {"saved_model", "float32.tflite", "int8.tflite"} | REPORTS
    entries = json.loads((tmp_path / "report.json").read_text())["formats"]
    assert all(entry["earlier_file_kept"] for entry in entries.values())


@pytest.mark.either_keras
def test_a_second_export_replaces_the_first(tmp_path):
    export_model(built(), tmp_path, evaluation_data=DATA, verbose=0)
    model = built()
    cut(model, 3.0)
    export_model(model, tmp_path, evaluation_data=DATA, verbose=0)
    assert names(tmp_path) == {"saved_model", "float32.tflite", "int8.tflite"} | REPORTS
    serve = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    np.testing.assert_allclose(serve(tf.constant(IMAGES))["output"], answers(model), atol=1e-4)


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started to ignore it
from segopt_callbacks import export_model
from tests.export_models import DATA, built
print("ready", flush=True)
while True:
    export_model(built(), sys.argv[1], evaluation_data=DATA, verbose=1)
"""


@pytest.mark.either_keras
def test_ctrl_c_leaves_no_half_file(tmp_path):
    """The process is interrupted at moments of its own choosing, in the middle of real conversions."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=pathlib.Path(segopt_callbacks.__file__).parent.parent,
    )
    try:
        for line in process.stdout:
            if "int8: writing" in line:
                break
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    left = names(tmp_path)
    assert left <= {"saved_model", "float32.tflite", "int8.tflite"} | REPORTS
    assert not any(name.startswith(".") for name in left)


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"formats": ["int9"]}, r"Received: 'int9'. Known: saved_model, float32, float16, dynamic_int8, int8"),
        ({"formats": []}, "at least one format"),
        ({"formats": ["float32", "float32"]}, "each once"),
        ({"formats": ["float32"], "on_failure": "ignore"}, "must be one of raise, warn"),
        ({"formats": ["float32"], "time_limit": 0}, "seconds above 0"),
        ({"formats": ["float32"], "latency": 10}, "must be True or False"),
        ({"evaluation_data": tf.data.Dataset.from_tensor_slices(DATA).batch(2).repeat()}, "must end"),
        ({"evaluation_data": DATA, "representative_dataset": IMAGES}, "must be a callable"),
        ({"evaluation_data": DATA, "metrics": {"a": "accuracy"}}, "instances, not classes or strings"),
        ({"evaluation_data": DATA, "metrics": {"a": keras.metrics.Mean}}, "must hold instances"),
    ],
    ids=lambda one: None if isinstance(one, str) else "-".join(one),
)
def test_a_wrong_argument_is_refused_before_training(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        ExportQuantizedCallback(tmp_path, **arguments)
    assert names(tmp_path) == set()


def test_every_format_of_the_contract_is_known():
    contract = "saved_model float32 float16 dynamic_int8 int8 int16x8 weight_only_int8 int4 onnx onnx_int8"
    assert set(TARGETS) == {*contract.split(), "openvino_int8", "tensorrt", "tvm", "tflm_int8", "tflm_lut", "ethos_u"}


def test_an_unbuilt_model_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="fit it, or call it on data first"):
        export_model(Segmenter(), tmp_path, ["float32"], verbose=0)


def test_integers_without_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'int16x8' must see data.*pass `representative_dataset` or `evaluation_data`"):
        export_model(built(), tmp_path, ["int16x8"], verbose=0)


# --- the callback ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("export_first", [True, False])
def test_the_export_follows_pruning_and_clustering_wherever_it_stands(tmp_path, export_first):
    export = ExportQuantizedCallback(tmp_path, evaluation_data=DATA, verbose=0)
    others = [ClusterOnTrainEndCallback(16), PruningScheduleCallback(0.8)]
    model = compiled(Segmenter())
    callbacks = [export, *others] if export_first else [*others, export]
    model.fit(*DATA, batch_size=5, epochs=2, verbose=0, callbacks=callbacks)
    training = export.report["made"]["training"]
    told = {one["name"]: one.get("settings") for one in training["callbacks"]}
    assert told["PruningScheduleCallback"] == {"schedule": "0.8"}
    assert list(told) == [type(one).__name__ for one in callbacks]
    assert (training["epochs"], training["steps"]) == (2, 4)
    for name in ("saved_model", "float32", "int8"):
        entry = export.report["formats"][name]
        assert len(entry["weights"]) == 3
        for row in entry["weights"]:
            removed = row.get("removed", 0)
            assert row["zeros"] + removed >= round(0.8 * (row["elements"] + removed))
            assert row["max_distinct_per_channel"] <= 16


def test_one_callback_serves_several_fits_and_models(tmp_path):
    export = ExportQuantizedCallback(tmp_path, ["float32"], evaluation_data=DATA, verbose=0)
    reports = []
    for make in (Segmenter, Segmenter):
        model = compiled(make())
        for _ in range(2):
            model.fit(*DATA, batch_size=5, verbose=0, callbacks=[export])
            reports.append(export.report)
            assert reports[-1]["formats"]["float32"]["largest_difference"] < 1e-4
    assert len({id(report) for report in reports}) == 4


@pytest.mark.either_keras
def test_progress_is_told(tmp_path, capsys):
    export_model(built(), tmp_path, ["float32", "int8"], evaluation_data=DATA, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    for name in ("float32", "int8"):
        assert any(line.startswith(f"export: {name}: writing") for line in lines)
        assert any(re.fullmatch(rf"export: {name}: written and opened in \d+\.\d s", line) for line in lines)
    assert any(line.split()[:1] == ["int8"] for line in lines)


@pytest.mark.either_keras
def test_the_terminal_stays_readable(tmp_path):
    """In a process without TF_CPP_MIN_LOG_LEVEL the converter would print dozens of lines."""
    code = (
        "import os, sys; os.environ.pop('TF_CPP_MIN_LOG_LEVEL', None)\n"
        "from tests.export_models import DATA, built\n"
        "from segopt_callbacks import export_model\n"
        "model = built(); print('----', file=sys.stderr, flush=True)\n"
        "export_model(model, sys.argv[1], evaluation_data=DATA, latency=False, verbose=1)\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=pathlib.Path(segopt_callbacks.__file__).parent.parent,
    )
    assert result.returncode == 0, result.stderr
    noise = result.stderr.partition("----\n")[2].splitlines()
    assert len(noise) <= 3, noise
