"""The training command, run as its users run it: on a few of the land-cover images, with a small model."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import flags
from segopt_callbacks import read_metadata
from segopt_callbacks.compat import keras, read
from segopt_callbacks.model.weights import select_weights
from tests import warm
from tests.export.litert import litert_cases
from train_unet import images, train, unet  # noqa: F401  (loading a saved model takes its class)
from train_unet.data import datasets
from train_unet.fitting import SaveOnTrainEnd, evaluate
from train_unet.folder import open_folder
from train_unet.training import falling, prune_steps

ROOT = Path(__file__).resolve().parents[2]
LANDCOVER = ROOT / "train_unet" / "data" / "landcover"
FORMATS = ("saved_model", "float32", "float16", "dynamic_int8", "int8")
SMALL = ("--epochs=1", "--base_filters=4", "--batch_size=4", "--nolatency")


def small_copy(source, folder, **counts):
    """`counts` images of each split of a data folder, each a corner of 64 x 64 pixels."""
    with (source / "split.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    chosen = []
    for split, count in counts.items():
        names = [row["name"] for row in rows if row["split"] == split]
        chosen += [(name, split) for name in names[:: len(names) // count][:count]]
    for part, suffix in (("images", "jpg"), ("masks", "png")):
        (folder / part).mkdir()
        for name, _ in chosen:
            with Image.open(source / part / f"{name}.{suffix}") as picture:
                picture.crop((0, 0, 64, 64)).save(folder / part / f"{name}.{suffix}")
    about = json.loads((source / "classes.json").read_text())
    (folder / "classes.json").write_text(json.dumps({**about, "tile": 64}))
    with (folder / "split.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("name", "split"), *chosen])
    return folder


@pytest.fixture(scope="module")
def small_data(tmp_path_factory):
    """A little of the embedded set."""
    return small_copy(LANDCOVER, tmp_path_factory.mktemp("small_data"), train=12, val=3, test=3)


def environment():
    """That of this process, without what the tests set for themselves."""
    return {key: value for key, value in os.environ.items() if key not in ("TF_CPP_MIN_LOG_LEVEL", "PYTHONPATH")}


def command(*arguments, cwd=ROOT / "train_unet", script=("train.py",), run=warm.run):
    return run(
        [sys.executable, *script, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=400
    )


@pytest.fixture(scope="module")
def promised_run(small_data, tmp_path_factory):
    """The run that the project promises most about: its process and its output folder."""
    out = tmp_path_factory.mktemp("promised")
    done = command(
        *SMALL,
        "--prune",
        "--cluster",
        "--cluster_begin=1",  # three steps: TensorFlow warns of each that is traced anew
        "--target_sparsity=0.8",
        "--distribution=uniform",
        "--number_of_clusters=16",
        "--baseline",
        f"--data_dir={small_data}",
        f"--output_dir={out}",
        run=subprocess.run,  # what importing prints is part of what it prints
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done, out


def test_a_run_tells_how_far_it_is_and_nothing_else(promised_run):
    done, _ = promised_run
    assert re.search(r"12 train, 3 val, 3 test images, 4 classes", done.stdout)
    assert len(re.findall(r"^3/3 - .*loss: .*mIoU: .*val_mIoU", done.stdout, re.MULTILINE)) == 2  # and the baseline
    assert re.search(r"Test mIoU of the dense float32 baseline: 0\.\d{4}", done.stdout)
    told = (
        r"\.tflite: [\d.]+ [kM]B .*times (smaller than|as large as) the dense float32 weights.*"
        r"mIoU 0\.\d{3} \(dense float32 0\.\d+, colour lookup 0\.\d+\)"
    )
    assert re.search(told, done.stdout.splitlines()[-1])
    assert done.stderr == ""


def test_a_run_leaves_complete_files_under_their_final_names(promised_run):
    _, out = promised_run
    names = {path.name for path in out.iterdir()}
    assert names == {"model.keras", "baseline.keras", "export", "logs", "run.json"}
    exported = {path.name for path in (out / "export").iterdir()}
    assert {f"{name}.tflite" for name in FORMATS[1:]} | {"saved_model", "report.json", "report.md"} <= exported
    assert not [path for path in out.rglob("*") if "partial" in path.name or path.name.startswith((".", "tmp"))]


def test_the_report_holds_the_test_miou_of_every_file_and_of_the_baseline(promised_run, small_data):
    done, out = promised_run
    report = report_of(out / "export")
    model = keras.models.load_model(out / "model.keras")
    miou = evaluate(model, datasets(open_folder(small_data), batch_size=4, seed=0)["test"])
    baseline = float(re.search(r"baseline: (\S+)", done.stdout)[1])
    assert set(report["formats"]) == set(FORMATS)
    assert report["model"]["metrics"]["mIoU"] == pytest.approx(miou, abs=1e-4)
    assert report["baselines"]["dense float32"]["metrics"]["mIoU"] == pytest.approx(baseline, abs=1e-4)
    assert report["formats"]["float32"]["metrics"]["mIoU"] == pytest.approx(miou, abs=1e-3)


def test_every_file_knows_its_classes_and_their_colours(promised_run):
    about = json.loads((LANDCOVER / "classes.json").read_text())
    told = read_metadata(promised_run[1] / "export" / "int8.tflite")
    ids = [index for index in range(len(about["classes"])) if index != about.get("ignore")]
    assert told["classes"] == [about["classes"][index] for index in ids]
    assert told["palette"] == [about["palette"][index] for index in ids]


def kernels_in_litert(path):
    """Every convolution's kernel `(out, height, width, in)`, as LiteRT itself has it while the file runs."""
    at_work = litert_cases.tensors_at_work(path)
    convolutions = [op for op in litert_cases.opened(path)._get_ops_details() if op["op_name"] == "CONV_2D"]
    return [at_work[int(op["inputs"][1])] for op in convolutions]


def check_promise(kernels, folder, name):
    """Zeros, and what has left the file with dead channels, are 80% of each kernel; the report has just these."""
    rows = [row for row in report_of(folder)["formats"][name]["weights"] if len(row["shape"]) == 4]
    read = sorted((kernel.size, int(np.count_nonzero(kernel == 0))) for kernel in kernels)
    assert read == sorted((row["elements"], row["zeros"]) for row in rows)
    assert len(rows) == 15
    for row in rows:
        removed = row.get("removed", 0)
        assert row["zeros"] + removed >= round(0.8 * (row["elements"] + removed)), row["weight"]


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_litert_kernels_are_pruned_to_the_weight_and_clustered_by_channel(name, promised_run):
    _, out = promised_run
    kernels = kernels_in_litert(out / "export" / f"{name}.tflite")
    assert kernels[0].dtype == {"float32": np.float32, "int8": np.int8}[name]
    check_promise(kernels, out / "export", name)
    assert max(np.unique(channel).size for kernel in kernels for channel in kernel) <= 16


@pytest.mark.either_keras  # the three together are in quantization/test_together.py under both
def test_pruned_clustered_and_trained_against_rounding(small_data, tmp_path):
    flag_file = ROOT / "flags" / "pcqat.flags"
    done = command(
        *SMALL,
        f"--flagfile={flag_file}",
        "--distribution=uniform",
        "--sensitivity",
        f"--data_dir={small_data}",
        f"--output_dir={tmp_path}",
        run=subprocess.run,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stderr == ""
    report = report_of(tmp_path / "export")
    assert [report["sensitivity"][name] for name in ("monitor", "examples")] == ["mIoU", 3]
    changes = [one["change"] for one in report["sensitivity"]["weights"]]
    assert [(one["prune"], one["cluster"]) for one in changes] == [(0.0, 0.0)] * 15  # they are so already
    assert any(one["int4"] for one in changes)
    entry = report["formats"]["int8"]
    assert entry["ranges"]["learned"] > 15
    assert entry["ranges"]["calibrated"] == []
    kernels = kernels_in_litert(tmp_path / "export" / "int8.tflite")
    check_promise(kernels, tmp_path / "export", "int8")
    assert max(np.unique(channel).size for kernel in kernels for channel in kernel) <= 16


DUBAI = ROOT.parent / "shared" / "data" / "dubai"


@pytest.mark.slow
@pytest.mark.either_keras
@pytest.mark.skipif(not DUBAI.exists(), reason="needs the Dubai images in ../shared/data/dubai")
def test_another_data_set_keeps_the_promise(tmp_path):
    (tmp_path / "data").mkdir()
    data = small_copy(DUBAI, tmp_path / "data", train=48, val=4, test=12)
    arguments = ["--epochs=1", "--base_filters=8", "--prune", "--cluster", "--distribution=uniform", "--nolatency"]
    done = command(*arguments, "--export_formats=float32,int8", f"--data_dir={data}", f"--output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "48 train, 4 val, 12 test images, 5 classes" in done.stdout  # class 5 is left out
    for name in ("float32", "int8"):
        kernels = kernels_in_litert(tmp_path / "export" / f"{name}.tflite")
        check_promise(kernels, tmp_path / "export", name)
        assert max(np.unique(channel).size for kernel in kernels for channel in kernel) <= 16
    report = report_of(tmp_path / "export")
    in_memory, int8 = report["model"]["metrics"]["mIoU"], report["formats"]["int8"]["metrics"]["mIoU"]
    assert int8 == pytest.approx(in_memory, abs=0.01)


def test_saved_model_and_keras_file_are_pruned_and_clustered_whole(promised_run):
    _, out = promised_run
    checkpoint = tf.train.load_checkpoint(str(out / "export" / "saved_model" / "variables" / "variables"))
    tensors = [
        checkpoint.get_tensor(name) for name in checkpoint.get_variable_to_shape_map() if "CHECKPOINT" not in name
    ]
    saved = [tensor for tensor in tensors if np.ndim(tensor) == 4]
    model = keras.models.load_model(out / "model.keras")
    in_memory = [read(variable) for variable in select_weights(model).values()]
    check_promise(saved, out / "export", "saved_model")
    assert len(in_memory) == 15
    assert all(np.count_nonzero(kernel == 0) == round(0.8 * kernel.size) for kernel in in_memory)
    assert max(np.unique(kernel).size for kernel in [*saved, *in_memory]) <= 16


def test_the_baseline_is_dense(promised_run):
    _, out = promised_run
    model = keras.models.load_model(out / "baseline.keras")
    assert all(np.all(read(variable) != 0) for variable in select_weights(model).values())


def events(folder):
    """Tags of everything in the event files under `folder`."""
    tags = set()
    for path in folder.rglob("events.*"):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            tags |= {value.tag for value in tf.compat.v1.Event.FromString(record).summary.value}
    return tags


def test_tensorboard_gets_scalars_and_pictures(promised_run):
    _, out = promised_run
    tags = events(out / "logs")
    assert {"epoch_loss", "epoch_mIoU", "epoch_sparsity", "input | truth | prediction"} <= tags


STARTS = {
    "in train_unet": {},
    "from the root": {"cwd": ROOT, "script": ("train_unet/train.py",)},
    "as a module": {"cwd": ROOT, "script": ("-m", "train_unet.train")},
}


@pytest.mark.either_keras
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_bad_data_folder_is_told_whole_before_training(start, small_data, tmp_path):
    broken = shutil.copytree(small_data, tmp_path / "broken")
    image = sorted((broken / "images").iterdir())[0]
    image.write_bytes(image.read_bytes()[:1000])
    mask = sorted((broken / "masks").iterdir())[1]
    mask.unlink()
    done = command(*SMALL, f"--data_dir={broken}", f"--output_dir={tmp_path / 'out'}", **start)
    assert done.returncode == 2
    assert image.name in done.stderr
    assert mask.name in done.stderr
    assert "Traceback" not in done.stderr
    assert "Epoch" not in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.either_keras
def test_a_wrong_flag_ends_at_once_with_one_line():
    done = command("--prune", "--target_sparsity=80")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "fraction of zeros" in done.stderr


@pytest.mark.either_keras
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGTERM")
def test_sigterm_saves_and_exits_with_143(small_data, tmp_path):
    arguments = [
        "--epochs=10000",
        "--base_filters=4",
        "--prune",
        f"--data_dir={small_data}",
        f"--output_dir={tmp_path}",
    ]
    with subprocess.Popen(
        [sys.executable, "train.py", *arguments],
        cwd=ROOT / "train_unet",
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stdout:
                if line.startswith("Epoch 2/"):
                    process.send_signal(signal.SIGTERM)
                    break
            try:
                _, errors = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:  # Python drops what is raised while a finalizer of TensorFlow runs
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 143, errors
    assert errors.strip().startswith("Terminated: no file is half-written; --resume")
    assert errors.strip().count("\n") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "logs", "run.json"]
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["model.npz"]


WAITING = """
import time
from train_unet.process import ExitOnInterrupt
with ExitOnInterrupt("Interrupted", "Terminated") as interrupt:
    print("ready", flush=True)
    try:
        while True:
            time.sleep(0.1)
            CHECK
    finally:
        time.sleep(3)  # longer than the patience
        print("cleaned up", flush=True)
"""


@pytest.mark.either_keras
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize(
    ("check", "sent"),
    [("interrupt.check()", signal.SIGINT), ("pass", signal.SIGINT), ("interrupt.check()", signal.SIGTERM)],
    ids=["checked", "nobody checks", "terminated"],
)
def test_one_signal_is_enough_and_leaves_whoever_cleans_up_alone(check, sent):
    command_line = [sys.executable, "-c", WAITING.replace("CHECK", check)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command_line, cwd=ROOT, **pipes) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(sent)
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    line = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}[sent]
    assert (process.returncode, out, errors.strip()) == (128 + sent, "cleaned up\n", line)


def run_here(capsys, *arguments):
    code = train.main(["train.py", *SMALL, *arguments])
    return code, capsys.readouterr()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--distribution=latency", "--target_sparsity=0.999"], r"can save 0\.\d+ of the time of the layers at most"),
        (["--distribution=uniform", "--filters=head/kernel"], r"channel\(\) must find a layer"),
    ],
)
def test_what_a_model_cannot_meet_is_told_in_a_sentence(small_data, tmp_path, flags, told):
    done = command(
        *SMALL, "--prune", "--pattern=channel", *flags, f"--data_dir={small_data}", f"--output_dir={tmp_path}"
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert re.search(told, done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr


KILLED = """
import os, signal, sys
from train_unet import backup, train

def write_backup(path, arrays, about, write=backup.write_backup):
    write(path, arrays, about)
    if about["batch"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)

backup.write_backup = write_backup
train.main(["train.py", *sys.argv[1:]])
"""


@pytest.mark.either_keras  # test_backup.py goes on under both
def test_the_seed_makes_runs_repeatable_also_one_that_is_killed_and_resumed(small_data, tmp_path, capsys):
    options = (*SMALL, "--seed=3", "--prune", "--cluster", "--export_formats=", f"--data_dir={small_data}")
    code, captured = run_here(capsys, *options, f"--output_dir={tmp_path / 'whole'}")
    assert code == 0
    line = dict(re.findall(r"(\w+): ([\d.]+)", re.search(r"^3/3.*", captured.out, re.MULTILINE)[0]))
    assert {"loss", "mIoU", "val_loss", "sparsity"} <= set(line)
    killed = (*options, f"--output_dir={tmp_path / 'killed'}")
    done = command(*killed, cwd=ROOT, script=("-c", KILLED))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "killed" / "model.keras").exists()
    code, captured = run_here(capsys, f"--output_dir={tmp_path / 'killed'}")
    assert (code, captured.out) == (2, "")
    assert "add --resume" in captured.err
    code, captured = run_here(capsys, "--resume", f"--output_dir={tmp_path / 'killed'}")
    assert code == 0, captured.err
    assert "Going on in epoch 1, behind 2 of its steps." in captured.out
    models = [keras.models.load_model(tmp_path / name / "model.keras") for name in ("whole", "killed")]
    for one, other in zip(*(map(read, model.weights) for model in models), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
        assert np.array_equal(one == 0, other == 0)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["logs", "model.keras", "run.json"]
    code, captured = run_here(capsys, "--resume", f"--output_dir={tmp_path / 'killed'}")
    assert (code, captured.out.partition(":")[0]) == (0, "That run has ended")


@pytest.mark.either_keras
def test_what_several_workers_have_trained_is_exported_by_one_process(
    promised_run, small_data, tmp_path, capsys, monkeypatch
):
    seen = {}

    def export_model(model, export_dir, **options):
        seen.update(options, model=model, export_dir=export_dir)
        return {}

    monkeypatch.setattr("train_unet.fitting.export_model", export_model)
    shutil.copy(promised_run[1] / "model.keras", tmp_path)
    record = flags.record(flags.parse(["train.py", *SMALL, f"--data_dir={small_data}", "--export_formats=int8"]))
    record |= {"is_trained": True, "in_memory": 0.25, "ranges": {"one": [0.0, 1.0]}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    code, captured = run_here(capsys, "--resume", f"--output_dir={tmp_path}")
    assert code == 0, captured.err
    assert (seen["formats"], seen["ranges"], seen["latency"]) == (("int8",), {"one": [0.0, 1.0]}, False)
    assert seen["export_dir"] == str(tmp_path / "export")
    assert seen["model"].count_params() > 0
    assert json.loads((tmp_path / "run.json").read_text())["has_ended"]


@pytest.mark.slow
@pytest.mark.either_keras  # fit/test_conformance.py trains in each of these ways under both
@pytest.mark.filterwarnings("ignore:Mixed precision compatibility check")
def test_other_ways_to_train_export_too(small_data, tmp_path, capsys):
    try:
        code, captured = run_here(
            capsys,
            "--jit_compile",
            "--mixed_precision",
            "--upsampling=transposed",
            "--loss=cross_entropy_dice",
            "--levels=3",
            "--prune",
            "--pattern=pairs",
            "--cluster",
            "--export_formats=float32,int8",
            f"--data_dir={small_data}",
            f"--output_dir={tmp_path}",
        )
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert code == 0, captured.err
    report = report_of(tmp_path / "export")
    assert set(report["formats"]) == {"float32", "int8"}
    weights = {row["weight"]: row for row in report["formats"]["float32"]["weights"]}
    assert [path for path in weights if "encoder_2" in path] == []
    zeros = [row["zeros"] for path, row in weights.items() if "conv_2" in path]
    assert len(zeros) == 5  # two encoders, the bottom, two decoders: kernels of an even number of input channels
    assert all(count > 0 and count % 2 == 0 for count in zeros)


@pytest.mark.either_keras
def test_filters_that_select_nothing_are_told_before_training(small_data, tmp_path, capsys):
    code, captured = run_here(
        capsys, "--prune", "--filters=no_such_layer", f"--data_dir={small_data}", f"--output_dir={tmp_path}"
    )
    assert code == 2
    assert captured.err.startswith("--filters: ")
    assert captured.err.count("\n") == 1
    assert "no_such_layer" in captured.err


@pytest.mark.either_keras
def test_an_output_folder_that_cannot_be_made_is_told_before_training(small_data, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, captured = run_here(capsys, f"--data_dir={small_data}", f"--output_dir={tmp_path / 'file' / 'out'}")
    assert code == 2
    assert captured.err.startswith("--output_dir must be a folder")
    assert captured.err.count("\n") == 1
    assert "Epoch" not in captured.out


@pytest.mark.parametrize(
    ("begin", "end", "steps", "expected"),
    [(0.1, 0.6, 1000, (100, 600)), (0.0, 1.0, 7, (0, 7)), (0.5, 0.51, 3, (1, 2)), (0.9, 1.0, 1, (0, 1))],
)
def test_prune_steps(begin, end, steps, expected):
    assert prune_steps(begin, end, steps) == expected


@pytest.mark.parametrize("hold", [0.0, 0.6])
def test_the_learning_rate_falls_along_a_cosine_from_where_it_is_held_to(hold):
    steps = 200
    rates, at = falling(1e-3, steps, hold), np.arange(steps + 1)
    fallen = np.clip((at / steps - hold) / (1 - hold), 0, 1)
    np.testing.assert_allclose([float(rates(step)) for step in at], 1e-3 * (1 + np.cos(np.pi * fallen)) / 2, atol=1e-9)


@pytest.mark.either_keras
def test_pictures_show_input_truth_and_prediction():
    palette = np.array([[10, 0, 0], [0, 20, 0], [0, 0, 0]], np.uint8)
    image = np.full((1, 2, 3, 3), 99, np.uint8)
    truth, predicted = np.full((1, 2, 3), 2), np.ones((1, 2, 3), int)
    picture = images.side_by_side(image, truth, predicted, palette)
    assert picture.shape == (1, 2, 3 * 3 + 2 * images.GAP, 3)
    gap = images.GAP
    assert (picture[:, :, :3] == 99).all()
    assert (picture[:, :, 3 : 3 + gap] == 255).all()
    assert (picture[:, :, 3 + gap : 6 + gap] == palette[2]).all()
    assert (picture[:, :, -3:] == palette[1]).all()


@pytest.mark.either_keras
@pytest.mark.parametrize(("epochs", "drawn"), [(1, [0]), (4, [0, 1, 3]), (7, [0, 1, 3, 6])])
def test_predictions_are_drawn_after_epochs_1_2_4_8_and_the_last(epochs, drawn, tmp_path):
    data = np.zeros((1, 4, 4, 3), "uint8"), np.zeros((1, 4, 4), "int32")
    callback = images.PredictionImages(tmp_path, data, palette=np.zeros((3, 3), "uint8"))
    callback.set_model(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1)]))
    callback.on_train_begin()
    for epoch in range(epochs):
        callback.on_epoch_end(epoch)
    callback.on_train_end()
    (path,) = tmp_path.rglob("events.*")
    records = [tf.compat.v1.Event.FromString(one) for one in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
    assert [record.step for record in records if record.summary.value] == drawn


@pytest.mark.either_keras
def test_a_failed_save_leaves_the_older_file_and_no_partial_one(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("older")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def fail(partial):
        Path(partial).write_text("half")
        raise KeyboardInterrupt

    model.save = fail
    callback = SaveOnTrainEnd(path)
    callback.set_model(model)
    with pytest.raises(KeyboardInterrupt):
        callback.on_train_end()
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("model.keras", "older")]


def test_a_format_without_its_packages_is_refused_before_training(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr("segopt_callbacks.export.formats.importlib.util.find_spec", lambda name: None)
    folder = open_folder(small_data)
    values = flags.parse(["train.py", "--export_formats=float32,tvm"])
    with pytest.raises(flags.FlagError, match=r"^--export_formats: .*pip install 'segopt-callbacks\[tvm\]'"):
        train.make_export(
            values, values.export_formats, folder, datasets(folder, batch_size=4, seed=0)["test"], tmp_path
        )


@pytest.mark.either_keras
def test_a_search_ends_with_its_answer_in_a_line_for_people(small_data, tmp_path):
    options = ("--epochs=1", "--base_filters=4", "--levels=2", "--batch_size=4", f"--data_dir={small_data}")
    done = command(*options, "--search", "--max_bytes=40000", "--trials=1", f"--output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert not re.search("Warning|WARNING|Traceback|INFO", done.stderr)
    answer, on_test = done.stdout.splitlines()[-2:]
    assert re.search(r"\.tflite meets max_bytes=40,000 on two seeds: [\d,]+ bytes after gzip and mIoU 0\.\d{4}", answer)
    assert re.fullmatch(r"Test mIoU of int[48]\.tflite: 0\.\d{4} and 0\.\d{4} on the two seeds\.", on_test)
    assert (tmp_path / "search" / "study.json").is_file()
    again = command(*options, "--search", "--max_bytes=30000", "--trials=1", f"--output_dir={tmp_path}")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "max_bytes=30000 where it was 40000" in again.stderr
