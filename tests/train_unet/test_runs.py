"""The folder of a run: what a new run may do there, and with which flags an old one goes on."""

import json

import pytest

import flags
from train_unet.runs import open_run

FLAGS = {"flags": {"epochs": 3}, "given": []}


def parsed(*arguments):
    return flags.parse(["train.py", *arguments])


def begun(folder, record=FLAGS, **options):
    run = open_run(str(folder), record, **options)
    run.begin()
    run.leave()
    return run


def test_a_new_run_is_refused_in_an_old_folder_unless_it_resumes_or_replaces(tmp_path):
    out = tmp_path / "out"
    assert not begun(out).is_old
    with pytest.raises(flags.FlagError, match=r"--resume to go on .* or --overwrite .*which holds run.json, backup\.$"):
        open_run(str(out), FLAGS)
    assert open_run(str(out), {"flags": {}}, resume=True).record == FLAGS
    assert not open_run(str(out), FLAGS, overwrite=True).is_old


def test_replacing_deletes_what_runs_make_and_nothing_else(tmp_path):
    begun(tmp_path)
    for name in ("model.keras", "notes.txt", "export/int8.tflite", "logs/a/events", "backup/model.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("older")
    run = open_run(str(tmp_path), {"flags": {"epochs": 5}, "given": []}, overwrite=True)
    assert (tmp_path / "model.keras").exists()  # whatever is still found wrong leaves the old run as it is
    run.begin()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "notes.txt", "run.json"]
    assert not list((tmp_path / "backup").iterdir())
    assert json.loads((tmp_path / "run.json").read_text())["flags"] == {"epochs": 5}
    run.leave()


def test_a_resumed_run_deletes_nothing_and_knows_what_was_noted(tmp_path):
    run = begun(tmp_path)
    run.note(baseline=0.5)
    (tmp_path / "backup" / "model.npz").write_text("")
    resumed = begun(tmp_path, resume=True)
    assert resumed.is_old
    assert resumed.record["baseline"] == 0.5
    assert (tmp_path / "backup" / "model.npz").exists()
    resumed.end()
    ended = open_run(str(tmp_path), FLAGS, resume=True)
    assert ended.has_ended
    assert not (tmp_path / "backup").exists()


def test_files_of_a_run_that_wrote_no_record_cannot_be_resumed(tmp_path):
    (tmp_path / "model.keras").write_text("")
    with pytest.raises(flags.FlagError, match=r"--resume needs the run.json.*holds model.keras\.$"):
        open_run(str(tmp_path), FLAGS, resume=True)


def test_two_processes_do_not_share_a_folder(tmp_path):
    first = open_run(str(tmp_path), FLAGS)
    first.begin()
    second = open_run(str(tmp_path), FLAGS, resume=True)
    with pytest.raises(flags.FlagError, match="one process at a time"):
        second.begin()
    first.leave()
    second.begin()
    second.leave()


def test_who_does_not_write_touches_nothing(tmp_path):
    worker = open_run(str(tmp_path / "out"), FLAGS, writes=False)
    worker.begin()
    worker.note(baseline=0.5)
    worker.end()
    assert not (tmp_path / "out").exists()
    begun(tmp_path)
    assert not open_run(str(tmp_path), FLAGS, writes=False).is_old  # the chief has begun a moment before
    assert open_run(str(tmp_path), FLAGS, resume=True, writes=False).is_old


def test_a_resumed_run_has_the_flags_that_it_began_with():
    record = flags.record(parsed("--prune", "--target_sparsity=0.9", "--filters=a", "--filters=b", "--epochs=24"))
    record = json.loads(json.dumps(record))
    values = parsed("--export_formats=int8", "--noprune")
    with pytest.raises(flags.FlagError, match=r"leave --prune out.*--prune=False where it was True\.$"):
        flags.take_over(values, record)
    values = parsed("--export_formats=int8", "--target_sparsity=0.9", "--prune")
    flags.take_over(values, record)
    assert (values.prune, values.target_sparsity, values.filters) == (True, 0.9, ["a", "b"])
    assert values["epochs"].present  # recipes look whether a flag was given
    assert not values["levels"].present
    assert values.export_formats == ["int8"]  # what files are made may change
    values = parsed()
    flags.take_over(values, flags.record(parsed("--export_formats=", "--backup_minutes=3")))
    assert (values.export_formats, values.backup_minutes) == ([], 3)


def test_the_data_is_known_by_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert flags.record(parsed("--data_dir=here"))["flags"]["data_dir"] == str(tmp_path / "here")
