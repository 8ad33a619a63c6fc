import errno
import fcntl
import multiprocessing
import os
import pathlib

import pytest

from segopt_callbacks.export.delivery import files, locks
from segopt_callbacks.export.delivery.files import publish
from segopt_callbacks.export.delivery.workspace import warn_if_shared, workspace

pytestmark = pytest.mark.either_keras
OURS = {"saved_model", "a.tflite", "b.tflite", "report.json"}


def fill(folder, **contents):
    folder.mkdir()
    for name, text in contents.items():
        if isinstance(text, dict):
            fill(folder / name, **text)
        else:
            (folder / name).write_text(text)
    return folder


def tree(folder):
    """Everything below a folder: path -> text."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_workspace_is_beside_the_finished_files_and_gone_afterwards(tmp_path):
    export_dir = tmp_path / "new" / "export"
    with workspace(export_dir) as folder:
        assert folder.parent == export_dir.parent
        (folder / "half.tflite").write_text("half")
    assert list(export_dir.parent.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_work_is_interrupted(tmp_path, error):
    def work():
        with workspace(tmp_path / "export") as folder:
            fill(folder / "saved_model", pb="half")
            raise error

    with pytest.raises(error):
        work()
    assert list(tmp_path.iterdir()) == []


def test_a_first_export_arrives_whole(tmp_path):
    publish(fill(tmp_path / "new", **{"a.tflite": "a", "saved_model": {"pb": "pb"}}), tmp_path / "export", OURS)
    assert tree(tmp_path) == {"export/a.tflite": "a", "export/saved_model/pb": "pb"}


@pytest.mark.parametrize("is_exchanged", [True, False])
def test_a_second_export_replaces_what_it_has_and_keeps_the_rest(tmp_path, monkeypatch, is_exchanged):
    if not is_exchanged:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    old = {"a.tflite": "old", "b.tflite": "kept", "saved_model": {"pb": "old", "stale": "stale"}}
    final = fill(tmp_path / "export", **old)
    before = final.stat().st_ino
    publish(fill(tmp_path / "new", **{"a.tflite": "new", "saved_model": {"pb": "new"}}), final, OURS)
    assert tree(final) == {"a.tflite": "new", "b.tflite": "kept", "saved_model/pb": "new"}
    assert (final.stat().st_ino != before) is is_exchanged
    assert {path.name for path in tmp_path.iterdir()} == {"export"}


def test_kept_folders_are_kept_whole(tmp_path):
    final = fill(tmp_path / "export", saved_model={"pb": "kept", "variables": {"data": "kept"}})
    publish(fill(tmp_path / "new", **{"a.tflite": "new"}), final, OURS)
    assert tree(final) == {"a.tflite": "new", "saved_model/pb": "kept", "saved_model/variables/data": "kept"}


def test_beside_files_of_somebody_else_the_folder_itself_stays(tmp_path):
    final = fill(tmp_path / "export", **{"a.tflite": "old", "notes.txt": "mine", "logs": {"events": "mine"}})
    before = final.stat().st_ino
    publish(fill(tmp_path / "new", **{"a.tflite": "new"}), final, OURS)
    assert final.stat().st_ino == before
    assert tree(final) == {"a.tflite": "new", "notes.txt": "mine", "logs/events": "mine"}


def test_the_working_directory_stays(tmp_path, monkeypatch):
    final = fill(tmp_path / "export", **{"a.tflite": "old"})
    monkeypatch.chdir(final)
    publish(fill(tmp_path / "new", **{"a.tflite": "new"}), final, OURS)
    assert pathlib.Path("a.tflite").read_text() == "new"
    assert os.getcwd() == str(final)


def test_an_earlier_folder_is_back_if_the_new_one_does_not_arrive(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    final = fill(tmp_path / "export", saved_model={"pb": "old"}, notes="mine")
    new = fill(tmp_path / "new", saved_model={"pb": "new"})
    replace = os.replace

    def fail(source, place):
        if str(source).endswith("new/saved_model") and str(place).endswith("export/saved_model"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, place)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        publish(new, final, OURS)
    assert tree(final) == {"saved_model/pb": "old", "notes": "mine"}


@pytest.mark.parametrize("is_folder_there", [True, False])
def test_what_a_killed_export_had_put_aside_is_put_back(tmp_path, is_folder_there):
    if is_folder_there:
        fill(tmp_path / "export", notes="mine")
        fill(tmp_path / "export" / ".saved_model.earlier-export", pb="old")
        fill(tmp_path / "export" / ".openvino_int8.earlier-export", pb="older")
        fill(tmp_path / "export" / "openvino_int8", pb="arrived")
    with workspace(tmp_path / "export"):
        pass
    there = {"export/saved_model/pb": "old", "export/openvino_int8/pb": "arrived", "export/notes": "mine"}
    assert tree(tmp_path) == (there if is_folder_there else {})


def test_nothing_that_lies_in_a_shared_parent_gets_into_an_export(tmp_path):
    fill(tmp_path / "export", notes="mine")
    planted = {"saved_model.earlier": {"pb": "evil"}, ".saved_model.earlier-export": {"pb": "evil"}}
    fill(tmp_path / ".export.unfinished-abcdefgh", export=planted, saved_model={"pb": "evil"}, **planted)
    with workspace(tmp_path / "export"):
        pass
    publish(fill(tmp_path / "new", **{"a.tflite": "a"}), tmp_path / "export", OURS)
    assert tree(tmp_path) == {"export/notes": "mine", "export/a.tflite": "a"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders to others")
def test_unfinished_work_of_another_user_is_left_alone(tmp_path):
    left = fill(tmp_path / ".export.unfinished-abcdefgh", export={"a": "theirs"})
    os.chown(left, 12345, 12345)
    with workspace(tmp_path / "export"):
        assert left.exists()
    assert tree(left) == {"export/a": "theirs"}


@pytest.mark.parametrize("is_exchanged", [True, False])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"a.tflite": {"notes": "mine"}}, {"a.tflite": "new"}),
        ({"saved_model": "mine"}, {"saved_model": {"pb": "new"}}),
        ({"saved_model": {"notes": "mine"}}, {"saved_model": {"pb": "new"}}),
    ],
)
def test_what_no_export_has_written_is_not_replaced(tmp_path, monkeypatch, old, new, is_exchanged):
    if not is_exchanged:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    final = fill(tmp_path / "export", **old, **{"b.tflite": "old"})
    before = tree(final)
    with pytest.raises(FileExistsError, match="move it away, or choose another `export_dir`"):
        publish(fill(tmp_path / "new", **new, **{"b.tflite": "new"}), final, OURS)
    assert tree(final) == before


def test_a_lock_of_somebody_else_is_waited_for_a_while_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    begun = tmp_path / ".export.unfinished-abcdefgh"  # by an export that was stopped before it could hold it
    fill(begun, a="theirs")
    stranger = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(stranger, fcntl.LOCK_EX)
    try:
        with (
            pytest.warns(UserWarning, match="locked by another process") as told,
            workspace(tmp_path / "export") as one,
        ):
            publish(fill(one / "new", **{"a.tflite": "a"}), tmp_path / "export", OURS)
        assert len(told) == 1
    finally:
        os.close(stranger)
    assert tree(tmp_path) == {"export/a.tflite": "a", f"{begun.name}/a": "theirs"}


def publish_often(folder, name):
    for number in range(50):
        new = fill(folder / f"{name}-{number}", **{f"{name}.tflite": f"{number}", "report.json": f"{name} {number}"})
        publish(new, folder / "export", OURS)


def test_two_at_once_lose_nothing_of_each_other(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=publish_often, args=(tmp_path, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    assert {path.name for path in tmp_path.iterdir()} == {"export"}
    final = tree(tmp_path / "export")
    assert (final["a.tflite"], final["b.tflite"]) == ("49", "49")
    assert final["report.json"] in ("a 49", "b 49")


def test_two_exports_at_work_for_one_folder_are_told(tmp_path, recwarn):
    export_dir = tmp_path / "export"
    (tmp_path / ".export.unfinished-abcdefgh").mkdir()  # of one that was killed
    with workspace(export_dir) as first:
        with workspace(tmp_path / "other") as other:
            assert not warn_if_shared(other, tmp_path / "other")
        assert not warn_if_shared(first, export_dir)
        assert not recwarn
        with workspace(export_dir) as second:
            for folder, there in ((first, second), (second, first)):
                with pytest.warns(
                    match=rf"must have a folder each: name another .*, for which {there.name} is at work"
                ):
                    assert warn_if_shared(folder, export_dir)
        assert not warn_if_shared(first, export_dir)
