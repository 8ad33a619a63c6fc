"""A whole search, on a network that trains in a second."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks import search_compression
from segopt_callbacks.compat import keras
from segopt_callbacks.search import StudyError
from segopt_callbacks.search.fitting import Fitting
from tests.search.search_cases import EPOCHS, build, build_narrow, split

SPACE = {"bits": [8], "sparsity": (0.3, 0.7), "against_rounding": [False], "pattern": ["none"]}
BOUNDS = {"max_bytes": 2500, "min_metric": 0.75}


def search(folder, build_model=build_narrow, **options):
    settings = {"epochs": EPOCHS, "trials": 2, "batch_size": 16, "space": SPACE, "verbose": 0, **options}
    return search_compression(build_model, split(), output_dir=folder, **settings)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("found")
    return search(folder, **BOUNDS), folder


def accuracy(path):
    """Of a file's own answers on the validation data, by LiteRT alone."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = given["quantization"]
    x, y = split()["val"]
    right = 0
    for one, label in zip(x, y, strict=True):
        stored = np.clip(np.round(one / scale + zero), -128, 127).astype(np.int8) if scale else one
        interpreter.set_tensor(given["index"], stored[None])
        interpreter.invoke()
        right += int(np.argmax(interpreter.get_tensor(taken["index"])[0]) == label)
    return right / len(y)


def gzipped(path):
    return len(subprocess.run(["gzip", "-9", "-n", "-c", path], capture_output=True, check=True).stdout)


def test_the_answer_meets_the_demand_on_both_seeds_as_others_read_its_files(found):
    result, folder = found
    confirming = next(one for one in result.trials if one.kind == "confirm" and one.figures == result.second)
    assert (confirming.seed, confirming.settings) == (1, result.settings)
    for path, figures in (
        (result.path, result.first),
        (folder / confirming.folder / result.path.name, result.second),
    ):
        assert gzipped(path) == figures.bytes <= BOUNDS["max_bytes"]
        assert accuracy(path) == pytest.approx(figures.metric, abs=1e-6)
        assert figures.metric >= BOUNDS["min_metric"]
    assert result.first != result.second
    assert result.found
    assert f"(seed 0), {result.second.bytes:,} bytes and {result.second.metric:.4f} (seed 1)" in result.message


@pytest.mark.either_keras
def test_every_trial_is_listed_with_its_report(found):
    result, folder = found
    told = json.loads((folder / "study.json").read_text())
    assert told["answer"] == result.message
    assert (told["monitor"], told["demand"]) == ("accuracy", BOUNDS)
    with_files = [one for one in told["trials"] if one["figures"]]
    assert len(with_files) >= 3
    for one in with_files:
        report = json.loads((folder / one["folder"] / "report.json").read_text())
        assert report["formats"]["int8"]["gzip_bytes"] == one["figures"]["bytes"]
        assert (folder / one["folder"] / "report.html").is_file()
    assert sum(one["confirmed"] for one in told["trials"]) == 1


@pytest.mark.either_keras
def test_a_search_that_has_ended_trains_nothing_when_asked_again(found):
    result, folder = found

    def never(*arguments, **options):
        raise AssertionError("a trial was trained")

    class Untrained(keras.Sequential):
        fit = never

    def build_untrained():
        return build(model_class=Untrained)

    again = search(folder, build_untrained, **BOUNDS)
    assert (again.message, len(again.trials)) == (result.message, len(result.trials))


@pytest.mark.either_keras
def test_another_demand_in_the_same_study_is_refused(found):
    with pytest.raises(StudyError, match=r"goes on as it has begun.*max_bytes=9000 where it was 2500"):
        search(found[1], **{**BOUNDS, "max_bytes": 9000})


@pytest.mark.either_keras
def test_a_search_that_was_interrupted_goes_on_and_ends_as_the_same_seed_has_ended(found, tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, callbacks=[Interrupt()], **BOUNDS)
    again = search(tmp_path, **BOUNDS)
    assert again.trials[0].state == "lost"
    trained = [one for one in again.trials if one.state != "lost"]
    assert sorted((one.kind, one.settings.told(), one.figures.bytes) for one in trained) == sorted(
        (one.kind, one.settings.told(), one.figures.bytes) for one in found[0].trials
    )
    assert (again.first, again.second) == (found[0].first, found[0].second)


@pytest.mark.either_keras
def test_what_cannot_be_small_enough_is_not_trained(tmp_path):
    def build_untrained():
        model = build()
        model.fit = None
        return model

    result = search(tmp_path, build_untrained, max_bytes=50, trials=1)
    assert (result.found, result.path) == (False, None)
    assert {one.state for one in result.trials} == {"refused"}
    assert "no trial gave a file: its file would have at least" in result.message


@pytest.mark.either_keras
def test_a_loss_is_measured_from_dense_models_of_both_seeds_and_the_width_is_searched(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("segopt_callbacks.export.checks.latency.BUDGET", 0.02)
    result = search(tmp_path, build, max_metric_loss=0.9, max_latency_ms=1000, trials=1, verbose=1)
    dense = [one for one in result.trials if one.kind == "reference"]
    assert [one.seed for one in dense] == [0, 1]
    assert all((tmp_path / one.folder / "float32.tflite").is_file() for one in dense)
    assert 0.5 <= result.settings.width <= 1
    assert result.found
    assert all(0 < one.latency_ms < 1000 for one in (result.first, result.second))
    printed = capsys.readouterr().out
    assert f"trial {dense[0].number} (dense): dense float32: " in printed
    assert printed.splitlines()[-1] == result.message


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "needs a bound to meet"),
        ({"max_bytes": 1, "trials": 0}, "`trials` must be a whole number, at least 1"),
        ({"max_bytes": 1, "epochs": 1.5}, "`epochs` must be a whole number"),
        ({"max_bytes": 1, "build_model": "net"}, "`build_model` must be a function"),
        ({"max_bytes": 1, "monitor": "mIoU"}, "`monitor` must be the name of a metric"),
        ({"max_bytes": 1, "build_model": lambda: build(metrics=[])}, "needs a metric to judge"),
    ],
)
@pytest.mark.either_keras
def test_a_wrong_argument_is_refused_before_anything_is_trained(options, told, tmp_path):
    with pytest.raises(ValueError, match=f"{told}.*Received: "):
        search(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [None, {"train": split()["train"]}, {"train": iter([]), "val": split()["val"]}])
@pytest.mark.either_keras
def test_data_that_no_second_trial_could_read_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match=r"`data.* must be .*Received: "):
        search_compression(build, data, epochs=1, max_bytes=1000, output_dir=tmp_path)


def test_a_model_that_is_not_built_is_weighed_as_well():
    layers = keras.layers

    def build_later(width):
        return keras.Sequential([layers.Dense(int(4 * width)), layers.Dense(3)])

    fitting = Fitting(build_later, *split().values(), 1, None, {}, "accuracy", False, (), 0)
    assert fitting.kernel_shapes(2.0) == [(8, 8), (8, 3)]


@pytest.mark.parametrize("storage", ["nowhere", "sqlite:////nowhere/at/all.db"])
@pytest.mark.either_keras
def test_a_database_that_cannot_be_opened_is_told_in_one_sentence(storage, tmp_path, monkeypatch):
    monkeypatch.setattr("segopt_callbacks.search.study._PAUSE", 0)
    with pytest.raises(StudyError, match="`storage` must be the URL of a database that can be opened.*nowhere"):
        search(tmp_path, max_bytes=1000, storage=storage)
