import os

import pytest

from segopt_callbacks.export.files import deliver, workspace


def fill(folder, text):
    folder.mkdir()
    (folder / "saved_model.pb").write_text(text)
    return folder


def test_the_workspace_is_beside_the_finished_files_and_gone_afterwards(tmp_path):
    export_dir = tmp_path / "new" / "export"
    with workspace(export_dir) as folder:
        assert folder.parent == export_dir
        (folder / "half.tflite").write_text("half")
    assert list(export_dir.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_work_is_interrupted(tmp_path, error):
    def work():
        with workspace(tmp_path) as folder:
            fill(folder / "saved_model", "half")
            raise error

    with pytest.raises(error):
        work()
    assert list(tmp_path.iterdir()) == []


def test_a_file_replaces_the_earlier_one(tmp_path):
    final = tmp_path / "a.tflite"
    final.write_text("old")
    with workspace(tmp_path) as folder:
        (folder / "a.tflite").write_text("new")
        deliver(folder / "a.tflite", final)
    assert final.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.tflite"]


def test_a_folder_replaces_the_earlier_one_with_all_that_was_in_it(tmp_path):
    final = fill(tmp_path / "saved_model", "old")
    (final / "stale").write_text("stale")
    with workspace(tmp_path) as folder:
        deliver(fill(folder / "saved_model", "new"), final)
    assert os.listdir(final) == ["saved_model.pb"]
    assert (final / "saved_model.pb").read_text() == "new"
    assert os.listdir(tmp_path) == ["saved_model"]


def test_the_earlier_folder_is_back_if_the_new_one_does_not_arrive(tmp_path):
    final = fill(tmp_path / "saved_model", "old")
    with workspace(tmp_path) as folder, pytest.raises(FileNotFoundError):
        deliver(folder / "saved_model", final)
    assert (final / "saved_model.pb").read_text() == "old"
    assert os.listdir(tmp_path) == ["saved_model"]
