"""Every route of the plugin, asked through TensorBoard's own application, on event files written here."""

from __future__ import annotations

import io
import pathlib
import re
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend import application
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

import segopt_callbacks.board
from segopt_callbacks.board import BoardPlugin
from segopt_callbacks.board.columns import aligned, thinned
from segopt_callbacks.board.plugin import FILES
from segopt_callbacks.records import Codebook, Density, board
from segopt_callbacks.summaries.told import results_record
from segopt_callbacks.summaries.writing import State, write_beginning, write_record, write_state
from tests.summaries.tensorboard_page import plugin_entry_points

STATIC = pathlib.Path(segopt_callbacks.board.__file__).parent / "static"
HOSTILE = "<img src=x onerror=alert(1)>/../kernel"
KERNEL = np.array([[0, 1, 2], [0, 0, -1]], "float32")
ERROR = 0.25
FORMATS = {
    "int8": {
        "status": "ok",
        "file": "int8.tflite",
        "bytes": 2048,
        "gzip_bytes": 1024,
        "metrics": {"mIoU": 0.5},
        "latency_ms": {"one_thread": {"median": 1.5}},
        "weights": [{"weight": "a/kernel", "dtype": "int8", "scales": 3, "scale_range": [0.1, 0.2], "zeros": 3}],
    },
    "tvm": {"status": "failed", "error": "no compiler", "earlier_file_kept": False},
}
REPORT = {"model": {"metrics": {"mIoU": 0.6, "nan": float("nan")}}, "formats": FORMATS}


def write(folder, steps, *, with_end, path="a/kernel"):
    with tf.summary.create_file_writer(str(folder)).as_default():
        write_beginning({"PruningSchedule.scope": "layer"}, step=0)
        for step in steps:
            values = {path: KERNEL if step > 2 else np.ones_like(KERNEL), "b": np.array([[np.nan]], "float32")}
            codebooks = {path: Codebook(Density.of(KERNEL), ERROR)} if step > 2 else {}
            write_state(State(values, {path: values[path] != 0}, {path: 0.5}, codebooks), step=step)
        if with_end:
            write_record(board.RESULTS_TAG, results_record(REPORT, {"loss": 0.1}), steps[-1])


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    log_dir = tmp_path_factory.mktemp("logs")
    write(log_dir / "first" / "compression", [2, 4], with_end=True)
    write(log_dir / "second" / "compression", [2], with_end=False, path=HOSTILE)
    with tf.summary.create_file_writer(str(log_dir / "first" / "train")).as_default():
        tf.summary.scalar("epoch_loss", 1.0, 0)
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(log_dir)).Reload()
    provider = MultiplexerDataProvider(multiplexer, str(log_dir))
    (plugin,) = [metadata.EntryPoint(name, value, "").load() for name, value in plugin_entry_points().items()]
    context = base_plugin.TBContext(data_provider=provider)
    assert plugin is BoardPlugin
    return Client(application.TensorBoardWSGI([plugin(context)], data_provider=provider))


def get(client, route, **arguments):
    return client.get(f"/data/plugin/segopt/{route}", query_string=arguments)


def test_tensorboard_lists_the_plugin_as_active_with_its_module(client):
    told = client.get("/data/plugins_listing").json["segopt"]
    assert told["enabled"]
    assert told["tab_name"] == "Compression"
    assert told["loading_mechanism"] == {"type": "IFRAME", "module_path": "/data/plugin/segopt/index.js"}
    entry = client.get("/data/plugin_entry.html?name=segopt")
    assert 'import("./index.js")' in entry.text


def test_runs_are_those_with_weights_the_last_one_first(client):
    runs = get(client, "runs").json["runs"]
    assert [(one["run"], one["name"], one["step"], one["is_finished"]) for one in runs] == [
        ("second/compression", "second", 2, False),
        ("first/compression", "first", 4, True),
    ]


def test_a_run_is_told_whole(client):
    told = get(client, "run", run="first/compression").json
    assert told.pop("wall_time") > 1e9
    kernel, other = told.pop("weights")
    assert told == {
        "run": "first/compression",
        "name": "first",
        "step": 4,
        "is_finished": True,
        "steps": [2, 4],
        "sparsity": [0.0, pytest.approx(3 / 7)],
        "target": [0.5, 0.5],
        "settings": {"PruningSchedule.scope": "layer"},
        "results": {
            "last_epoch": {"loss": 0.1},
            "metrics": {"mIoU": 0.6},
            "formats": {
                "int8": {
                    "status": "ok",
                    "file": "int8.tflite",
                    "bytes": 2048,
                    "gzip_bytes": 1024,
                    "metrics": {"mIoU": 0.5},
                    "latency_ms": 1.5,
                    "weights": {"a/kernel": {"dtype": "int8", "scales": 3, "scale_range": [0.1, 0.2]}},
                },
                "tvm": {"status": "failed"},
            },
        },
    }
    assert kernel == {
        "path": "a/kernel",
        "shape": [2, 3],
        "low": -1.0,
        "high": 2.0,
        "distinct": 4.0,
        "error": ERROR,
        "values": [-1.0, 0.0, 1.0, 2.0],
        "sparsity": [0.0, 0.5],
        "target": [0.5, 0.5],
    }
    assert (other["low"], other["high"], other["target"]) == (None, None, [None, None])


def test_a_weight_is_told_by_its_last_histogram_and_mask(client):
    told = get(client, "weight", run="first/compression", path="a/kernel").json
    counts, edges = np.histogram(KERNEL, 30)
    np.testing.assert_allclose(told["buckets"], np.stack([edges[:-1], edges[1:], counts], axis=1))
    assert (told["step"], told["mask_step"]) == (4, 4)
    answer = get(client, "mask", run="first/compression", path="a/kernel")
    assert answer.content_type == "image/png"
    drawn = np.asarray(Image.open(io.BytesIO(answer.data)))
    assert np.array_equal(drawn[::128, ::85][:2, :3] == 0, KERNEL != 0)
    assert get(client, "weight", run="first/compression", path="b").json["mask_step"] is None


def test_names_are_data_and_lead_nowhere(client):
    told = get(client, "run", run="second/compression").json
    assert told["weights"][0]["path"] == HOSTILE
    assert get(client, "weight", run="second/compression", path=HOSTILE).json["step"] == 2
    assert get(client, "mask", run="second/compression", path=HOSTILE).data.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("route", "arguments", "code", "message"),
    [
        ("run", {}, 400, "`run` must be given"),
        ("weight", {"run": "first/compression"}, 400, "`path` must be given"),
        ("run", {"run": "first/train"}, 404, "`run` must be one that CompressionSummaries has written"),
        ("run", {"run": "../../etc"}, 404, "`run` must be one"),
        ("weight", {"run": "first/compression", "path": "../b"}, 404, "`path` must be that of a weight"),
        ("mask", {"run": "first/compression", "path": "b"}, 404, "`path` must be that of a pruned weight"),
    ],
)
def test_what_is_not_there_is_refused_in_words(client, route, arguments, code, message):
    answer = get(client, route, **arguments)
    assert answer.status_code == code
    assert message in answer.text


@pytest.mark.parametrize("name", FILES)
def test_files_are_served_as_they_lie_in_the_package(client, name):
    answer = get(client, name)
    assert answer.data == (STATIC / name).read_bytes()
    assert answer.mimetype == {"js": "text/javascript", "css": "text/css"}[name.rpartition(".")[2]]
    assert client.post(f"/data/plugin/segopt/{name}").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "../plugin.py",
        "%2e%2e/plugin.py",
        "..%2fplugin.py",
        "static/index.js",
        "index.js/../../plugin.py",
        "/etc/passwd",
    ],
)
def test_no_path_leads_to_another_file(client, path):
    assert client.get(f"/data/plugin/segopt/{path}").status_code == 404


def test_every_file_has_a_route_and_the_page_asks_for_nothing_else():
    assert sorted(FILES) == sorted(path.name for path in STATIC.iterdir())
    for name in FILES:
        text = (STATIC / name).read_text()
        assert set(re.findall(r'from "\./([^"]+)"', text)) <= set(FILES), name
        assert text.count(" from ") >= len(re.findall(r"^import ", text, re.MULTILINE)), name
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg\b)|url\(|@import|innerHTML", text) == [], name
        assert text.count("\n") <= 250, name


@pytest.mark.parametrize("most", [1, 2, 3, 7, 50])
def test_thinned_steps_are_few_even_and_end_with_the_last(most):
    steps = list(range(5, 500, 5))
    kept = thinned(steps, most)
    assert len(kept) == most
    assert kept[-1] == steps[-1]
    assert set(kept) <= set(steps)
    gaps = np.diff([0, *[steps.index(one) for one in kept]][1:])
    assert gaps.size == 0 or np.ptp(gaps) <= 1


def test_what_is_not_finite_has_no_place_in_a_column():
    assert aligned({1: 0.5, 2: float("nan"), 3: float("inf")}, [1, 2, 3]) == [0.5, None, None]


def test_tensorboard_gets_the_plugin_without_tensorflow():
    program = "import sys, segopt_callbacks.board; print('tensorflow' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "False"
