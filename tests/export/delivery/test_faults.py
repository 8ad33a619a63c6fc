"""Exports that are killed, meet a full or locked disk, or bring nothing: what was there is there, or all of the new."""

import dataclasses
import errno
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from segopt_callbacks import ExportQuantizedCallback, compat, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export import ExportError
from segopt_callbacks.export.delivery import rescue
from segopt_callbacks.export.delivery.workspace import require_writable, workspace
from segopt_callbacks.export.formats import TARGETS
from tests import warm
from tests.conformance import compiled
from tests.export import export_targets
from tests.export.delivery.fault_case import FILES, debris, tree
from tests.export_models import DATA, Segmenter, built

once = pytest.mark.either_keras


def fault_case(folder, *arguments):
    program = [sys.executable, "-W", "ignore", "-m", "tests.export.delivery.fault_case"]
    command = [*program, arguments[0], str(folder), *arguments[1:]]
    temporary = folder / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TMPDIR": str(temporary)}
    result = warm.run(
        command, capture_output=True, text=True, timeout=500, env=environment, cwd=pathlib.Path(__file__).parents[3]
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return json.loads(result.stdout.splitlines()[-1])


# --- killed ----------------------------------------------------------------------------------------------------------


@once
def test_work_that_is_killed_before_any_of_its_operations_is_old_or_new(tmp_path):
    for situation, seen in fault_case(tmp_path, "moves").items():
        codes = [one["code"] for one in seen]
        assert set(codes[:-1]) == {-9}
        assert codes[-1] == 0
        assert len(seen) > 3
        notes = {"notes": "mine"} if situation == "beside_others" else {}
        old, new = ({} if situation == "first" else FILES["old"] | notes), FILES["new"] | notes
        allowed = [{f"export/{name}": text for name, text in files.items()} for files in (old, new)]
        assert any(any(name.startswith(".export.") for name in one["killed"]) for one in seen)
        for one in seen:  # beside files of others, each file for itself, and none is half
            for name, text in one["swept"].items():
                assert text in {files.get(name) for files in allowed}
            if situation != "beside_others":
                assert one["swept"] in allowed
        assert seen[0]["swept"] == allowed[0]
        assert seen[-1]["swept"] == allowed[1]


@once
@pytest.mark.slow
def test_an_export_that_is_killed_at_any_moment_leaves_the_earlier_one_or_itself(tmp_path):
    result = fault_case(tmp_path, "kills", "16", "7")
    assert len(result["kills"]) == 16
    for one in result["kills"]:
        assert len(one["debris"]) <= 1, "that of the one before was not removed"
        if one["report"]["model"]["name"] == one["name"]:
            files = {path.partition("/")[0] for path in one["now"]}
            assert {entry["status"] for entry in one["report"]["formats"].values()} == {"ok"}
            assert {entry["file"] for entry in one["report"]["formats"].values()} <= files
            assert [path for path, digest in one["now"].items() if digest == one["old"].get(path)] == []
        else:
            assert one["now"] == one["old"]
    assert sum(bool(one["debris"]) for one in result["kills"]) > 5
    assert sum(one["now"] == one["old"] for one in result["kills"]) > 5
    assert result["debris"] == []
    assert result["temporary"] == [], "converters work in the folder of the export"
    assert set(result["last"]) == set(result["kills"][0]["old"])


@once
@pytest.mark.slow
def test_the_work_of_an_export_that_stands_still_is_left_alone(tmp_path):
    result = fault_case(tmp_path, "two")
    assert len(result["stopped"]) == 1
    debris_then, report_then = result["between"]
    assert debris_then == result["stopped"]
    assert report_then["model"]["name"] == "second"
    assert result["code"] == 0
    assert result["debris"] == []
    assert result["report"]["model"]["name"] == "first"
    assert {entry["status"] for entry in result["report"]["formats"].values()} == {"ok"}


@once
def test_only_what_nobody_works_in_and_an_export_has_made_is_removed(tmp_path):
    mine = [".export.unfinished-notes.txt", ".export.unfinished-", ".other.unfinished-abcdefgh", "export.unfinished"]
    for name in [*mine, ".export.unfinished-abcdefgh"]:
        (tmp_path / name).mkdir()
    (tmp_path / ".export.unfinished-ABCDEFGH").write_text("a file")
    with workspace(tmp_path / "export") as one, workspace(tmp_path / "export") as other:
        assert one.is_dir()
        assert other.is_dir()
        assert not (tmp_path / ".export.unfinished-abcdefgh").exists()
    assert {path.name for path in tmp_path.iterdir()} == {*mine, ".export.unfinished-ABCDEFGH"}


# --- no room ---------------------------------------------------------------------------------------------------------


def small(name):
    model = keras.Sequential([keras.layers.Conv2D(4, 3, name=name), keras.layers.Conv2D(3, 1)], name=name)
    model(DATA[0][:1].astype("float32"))
    return model


def refusal(function, *arguments, **options):
    """The message of the error that it raises, if any."""
    try:
        function(*arguments, **options)
    except (OSError, ExportError) as error:
        return str(error)
    return None


def mounted(kind, *arguments):
    result = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"a test of {kind} takes the right to mount: {result.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    mounted("a full disk", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path))
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@once
def test_a_full_disk_keeps_the_earlier_export_and_says_what_helps(small_disk):
    export_dir, formats = small_disk / "exported", ("saved_model", "float32", "int8")
    arguments = {"evaluation_data": (DATA[0][:2].astype("float32"), DATA[1][:2]), "verbose": 0}
    export_model(small("old"), export_dir, formats, **arguments)
    old, seen = tree(export_dir), []
    for room in (0, 20_000, 60_000, 250_000):
        filler = small_disk / "filler"
        filler.write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - room)))
        error = refusal(export_model, small("new"), export_dir, formats, **arguments)
        seen.append("refused" if error else "delivered")
        if error:
            assert "No space left on device" in error
            assert "free space on that disk, or choose another `export_dir`" in error
        filler.unlink()
        now = tree(export_dir)
        report = json.loads((export_dir / "report.json").read_text())
        for name, entry in report["formats"].items():
            ours = [path for path in now if path.startswith((f"{name}/", f"{name}."))]
            is_old = all(now[path] == old[path] for path in ours)
            assert is_old is (seen[-1] != "delivered")
            assert ours
            assert entry["status"] == "ok" or entry["earlier_file_kept"]
        assert debris(export_dir) == []
    assert seen[-1] == "delivered"
    assert seen.count("delivered") < 3


@once
@pytest.mark.slow
def test_files_that_may_not_become_large_enough(tmp_path):
    """As a full disk, where none may be mounted; with 4,000 bytes some files fit, and the report does not."""
    seen = fault_case(tmp_path, "limit", "0,4000,1000000")
    assert seen["0"]["error"].startswith("OSError: ")
    assert seen["4000"]["error"].startswith("OSError: ")
    assert seen["1000000"]["error"] == ""
    for size, one in seen.items():
        assert one["debris"] == []
        if size != "1000000":
            assert "File too large" in one["error"]
            assert "raise the limit on the size of files (`ulimit -f`), or choose another `export_dir`" in one["error"]
            assert one["now"] == one["old"]
            assert len(one["now"]) >= 7


# --- what cannot be written, before the training ---------------------------------------------------------------------


def watched_fit(model, *callbacks, **arguments):
    """Fits for two epochs; returns how many batches were trained when it ended or raised."""
    batches = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(batch))
    try:
        model.fit(*DATA, batch_size=5, epochs=2, verbose=0, callbacks=[watch, *callbacks], **arguments)
    finally:
        watched_fit.batches = len(batches)


def unwritable(tmp_path, kind):
    if kind == "a file":
        (tmp_path / "file").write_text("mine")
        return tmp_path / "file", "not a directory; choose another one, or change its permissions"
    if kind == "below a file":
        (tmp_path / "file").write_text("mine")
        return tmp_path / "file" / "export", "not a directory"
    return pathlib.Path("/proc/nowhere/export"), "no such file or directory"


@pytest.mark.parametrize("kind", ["a file", "below a file", "in no file system"])
def test_what_cannot_be_written_is_told_before_training(tmp_path, kind):
    export_dir, why = unwritable(tmp_path, kind)
    before = tree(tmp_path)
    with pytest.raises(OSError, match="`export_dir` must be a folder that can be made and written; ") as caught:
        watched_fit(compiled(Segmenter()), ExportQuantizedCallback(export_dir, evaluation_data=DATA, verbose=0))
    assert watched_fit.batches == 0
    assert f"Received: {str(export_dir)!r}, " in str(caught.value)
    assert all(part in str(caught.value) for part in why.split("; "))
    assert tree(tmp_path) == before


@once
def test_a_disk_for_reading_only_is_told_before_training(tmp_path):
    mounted("a disk for reading only", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(tmp_path))
    try:
        for export_dir in (tmp_path, tmp_path / "export"):
            with pytest.raises(OSError, match="this disk is mounted for reading only. Received: ") as caught:
                require_writable(export_dir)
            assert caught.value.errno == errno.EROFS
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


AS_NOBODY = """
import os, pathlib, sys
from segopt_callbacks.export.delivery.workspace import require_writable
os.setgid(65534), os.setuid(65534)
try:
    print(require_writable(pathlib.Path(sys.argv[1])))
except PermissionError as error:
    print(error)
"""


def as_nobody(folder):
    """What a user without rights is told."""
    command = [sys.executable, "-c", AS_NOBODY, str(folder)]
    cwd = pathlib.Path(__file__).parents[3]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout.strip()


@once
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_folder_of_somebody_else_is_told_before_training():
    folder = pathlib.Path(tempfile.mkdtemp())  # the folders above `tmp_path` are closed to others
    try:
        folder.chmod(0o755)
        told = "[Errno 13] `export_dir` must be a folder that can be made and written; choose another one, or change "
        assert as_nobody(folder / "export").startswith(told)
        (folder / "export").mkdir(mode=0o755)
        assert as_nobody(folder / "export").startswith(told)
        (folder / "export").chmod(0o777)  # the only one that may be written: work is done inside
        assert as_nobody(folder / "export") == str(folder / "export")
        folder.chmod(0o777)
        (folder / "export").chmod(0o755)
        assert as_nobody(folder / "export").startswith(told)
        assert as_nobody(folder / "new") == str(folder)
        assert [path.name for path in folder.rglob("*")] == ["export"]
    finally:
        shutil.rmtree(folder)


@once
def test_a_disk_of_its_own_is_worked_on_itself(small_disk):
    assert require_writable(small_disk) == small_disk
    (small_disk / "notes").write_text("mine")
    arguments = {"evaluation_data": (DATA[0][:2].astype("float32"), DATA[1][:2]), "verbose": 0}
    for name in ("old", "new"):
        export_model(small(name), small_disk, ["saved_model", "float32"], **arguments)
        assert json.loads((small_disk / "report.json").read_text())["model"]["name"] == name
    names = {path.name for path in small_disk.iterdir()}
    assert names >= {"notes", "saved_model", "float32.tflite", "report.json"}
    assert not any(name.startswith(".") for name in names)


def test_little_room_is_warned_of_before_training(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    model = compiled(built())
    weights = sum(int(np.prod(weight.shape)) for weight in model.weights)
    needed = weights * (8 + 4 + 4 + 1)  # two SavedModels to make them from; saved_model, float32 and int8
    export = ExportQuantizedCallback(tmp_path, evaluation_data=DATA, verbose=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
    with pytest.raises(UserWarning, match=r"should have room for the export .* Received: 0.0 MiB free in"):
        watched_fit(model, export)  # pytest turns warnings into errors
    assert watched_fit.batches == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))
    rescue.warn_if_tight(model, [TARGETS[name] for name in export.formats], tmp_path)


# --- one format for itself -------------------------------------------------------------------------------------------


@once
def test_a_converter_that_crashes_later_does_not_close_the_saved_model(tmp_path, monkeypatch):
    """TensorFlow runs the saved model in the process in which converters work."""
    target = dataclasses.replace(TARGETS["float16"], write=export_targets.write_and_die)
    monkeypatch.setitem(TARGETS, "float16", target)
    with pytest.raises(ExportError, match="float16: its process was killed by SIGSEGV while writing it") as caught:
        export_model(built(), tmp_path, ["saved_model", "float16"], evaluation_data=DATA, verbose=0)
    assert list(caught.value.causes) == ["float16"]
    assert (tmp_path / "saved_model" / "saved_model.pb").is_file()


# --- weights are kept ------------------------------------------------------------------------------------------------


def assert_rescued(text, model, place):
    """The weights are where the text says, in a folder of their own there."""
    path = pathlib.Path(text.partition("the trained weights are saved in '")[2].partition("'")[0])
    assert path.parent.parent == place
    assert text.endswith("': call `load_weights` on a model that is built alike, then `export_model`")
    again = built(Segmenter)
    again.load_weights(str(path))
    for one, other in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(compat.read(one), compat.read(other))


def lost(export_dir):
    """The folder, and the one in which it lies, become something that cannot be written, in the last epoch."""

    def lose(epoch, logs):
        if epoch == 1:
            shutil.rmtree(export_dir.parent)
            export_dir.parent.write_text("a file")

    return keras.callbacks.LambdaCallback(on_epoch_end=lose)


@pytest.mark.parametrize("where", ["working_directory", "temporary"])
def test_weights_are_saved_elsewhere_where_the_export_cannot_be_written(tmp_path, monkeypatch, where):
    for name in ("disk", "working_directory", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "working_directory")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    export_dir, model = tmp_path / "disk" / "export", compiled(Segmenter())
    callbacks = [ExportQuantizedCallback(export_dir, ["float32"], evaluation_data=DATA, verbose=0), lost(export_dir)]
    if where == "temporary":
        callbacks.append(keras.callbacks.LambdaCallback(on_train_end=lambda logs: os.rmdir(os.getcwd())))
    with pytest.raises(NotADirectoryError, match="`export_dir` must be a folder") as caught:
        watched_fit(model, *callbacks)
    assert watched_fit.batches == 4
    assert caught.value.errno == errno.ENOTDIR
    assert_rescued(str(caught.value), model, tmp_path / where)


def test_weights_are_saved_elsewhere_where_every_format_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil = keras.callbacks.LambdaCallback(on_train_end=lambda logs: model.head.bias.assign([np.nan, 0, 0]))
    for on_failure in ("raise", "warn"):
        model = compiled(Segmenter())
        export = ExportQuantizedCallback("export", evaluation_data=DATA, on_failure=on_failure, verbose=0)
        if on_failure == "raise":
            with pytest.raises(ExportError, match="Export failed for 3 formats: .*weights hold NaN") as caught:
                watched_fit(model, export, spoil)
            told = str(caught.value)
            assert set(caught.value.causes) == {"saved_model", "float32", "int8"}
        else:
            with pytest.warns(UserWarning, match="format") as warned:
                watched_fit(model, export, spoil)
            told = str(warned[-1].message).removesuffix(".")
            assert told.startswith("No format could be exported; the trained weights are saved in ")
        assert {entry["status"] for entry in export.report["formats"].values()} == {"failed"}
        assert_rescued(told, model, tmp_path)


def test_weights_are_not_saved_elsewhere_where_a_format_is_delivered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = ExportError({"int8": "it does not run"}, {"formats": {"float32": {"status": "ok"}}})

    def fail():
        with rescue.weights_kept(built()):
            raise error

    with pytest.raises(ExportError, match="^Export failed for 1 format: int8: it does not run$"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [FormatError("first\nsecond"), OSError(errno.EIO, "I/O"), KeyError("a", "b")])
def test_the_error_of_the_export_is_never_hidden(tmp_path, monkeypatch, error):
    """Weights that can be saved nowhere: both places are gone, and then saving itself raises."""

    class Unsaved:
        def save_weights(self, path):
            raise RuntimeError("no weights")

    def fail():
        with rescue.weights_kept(Unsaved()):
            raise error

    monkeypatch.chdir(tmp_path)
    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    told = "".join([str(error), *getattr(error, "__notes__", [])])
    assert "the trained weights could not be saved elsewhere either (no weights; no weights)" in told
    assert list(tmp_path.iterdir()) == []


@once
@pytest.mark.parametrize("way", ["export", "fit"])
def test_a_folder_in_the_way_of_a_file_is_told_of_before_any_work(tmp_path, way):
    (tmp_path / "float32.tflite").mkdir()
    (tmp_path / "float32.tflite" / "notes").write_text("mine")
    model = compiled(Segmenter()) if way == "fit" else built(Segmenter)
    options = {"evaluation_data": DATA, "verbose": 0}
    if way == "fit":
        work = functools.partial(watched_fit, model, ExportQuantizedCallback(tmp_path, ["float32"], **options))
    else:
        work = functools.partial(export_model, model, tmp_path, ["float32"], **options)
    with pytest.raises(FileExistsError, match="move it away") as caught:
        work()
    assert caught.value.filename == str(tmp_path / "float32.tflite")
    assert tree(tmp_path).keys() == {"float32.tflite/notes"}
    if way == "fit":
        assert watched_fit.batches == 0
