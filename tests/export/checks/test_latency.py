"""What one inference of every file takes: that it is measured as the report says, and costs no more than it may."""

import contextlib
import dataclasses
import functools
import json
import statistics
import sys
import time
import types

import numpy as np
import pytest

from segopt_callbacks import ExportQuantizedCallback, export_model, read_metadata
from segopt_callbacks.export import callback
from segopt_callbacks.export.checks import latency, latency_figures
from segopt_callbacks.export.checks.latency import Opened, measure
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.litert import converter as litert
from segopt_callbacks.export.report.report import markdown
from segopt_callbacks.export.report.text import table
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Target
from segopt_callbacks.pages.page import page
from segopt_callbacks.pages.reading import parse
from segopt_callbacks.processes import cpus, worker
from segopt_callbacks.processes.process import Process
from segopt_callbacks.records.ports import Port
from segopt_callbacks.sizes import CorruptFileError
from tests.export import latency_targets
from tests.export_models import DATA, built, fitted

pytestmark = pytest.mark.either_keras
INPUTS = [np.zeros((1, 4), np.float32)]
needs_pinning = pytest.mark.skipif(cpus.to_pin() is None, reason="processes cannot be pinned here")


@pytest.fixture(autouse=True)
def _budget(monkeypatch):
    monkeypatch.setattr(latency, "BUDGET", 1.0)


@pytest.fixture
def sleeping(tmp_path):
    """Files whose inference takes as long as they are told: `{name: seconds}` -> open files."""
    with contextlib.ExitStack() as closing:

        def opened(seconds_of, **changes):
            files = {}
            source = Source(tmp_path, (Port("x", (1, 4), "float32"),), ())
            for name, seconds in seconds_of.items():
                load = functools.partial(latency_targets.load_and_sleep, seconds)
                target = Target(name, print, load, print, **changes)
                process = closing.enter_context(Process())
                arguments = load, tmp_path / name, source, None
                process.call(worker.open_file, *arguments, doing="opening", time_limit=60)
                files[name] = Opened(target, tmp_path / name, source, process)
            return files

        yield opened


def test_medians_and_ratios_are_those_of_the_inference(sleeping):
    found = measure(sleeping({"float32": 0.002, "int8": 0.006}), INPUTS, budget=3.0, narrow=0.0)
    assert found.causes == {}
    for key in ("one_thread", "all_threads"):
        slow, fast = found.figures["int8"][key], found.figures["float32"][key]
        assert slow["median"] >= 6  # however busy the machine is, nobody sleeps for less
        assert fast["median"] >= 2
        assert slow["low"] <= slow["median"] <= slow["high"]
        medians = [[statistics.median(runs) for runs in found.turns[key][name]] for name in ("int8", "float32")]
        assert slow["median"] == pytest.approx(1000 * statistics.median(medians[0]), rel=1e-3)
        ratios = [one / other for one, other in zip(*medians, strict=False)]
        assert slow["ratio_to_float32"]["median"] == pytest.approx(statistics.median(ratios), rel=1e-3)
        assert "ratio_to_float32" not in fast
        assert slow["rounds"] >= latency_figures._FEWEST
        assert slow["rounds"] <= slow["runs"] <= latency.ROUNDS * latency.RUNS


@needs_pinning
def test_one_thread_is_one_thread_on_one_cpu(sleeping, tmp_path):
    found = measure(sleeping({"float32": 0.0}), INPUTS)
    on_all, on_one = (tmp_path / "opened.txt").read_text().splitlines()
    assert on_all == f"float32 None {list(cpus.available())}"
    assert on_one == f"float32 1 [{found.settings['pinned_to_cpu']}]"
    assert f"One thread: pinned to CPU {found.settings['pinned_to_cpu']}." in found.settings["about"]


def test_a_system_that_cannot_pin_is_told_of(sleeping, tmp_path, monkeypatch):
    monkeypatch.setattr(cpus, "to_pin", lambda: None)
    found = measure(sleeping({"float32": 0.0}), INPUTS)
    assert found.settings["pinned_to_cpu"] is None
    assert "One thread: not pinned to a CPU" in found.settings["about"]
    assert (tmp_path / "opened.txt").read_text().splitlines()[1] == f"float32 1 {list(cpus.available())}"


def test_where_files_cannot_be_timed_fairly_they_are_not(sleeping, tmp_path):
    assert measure(sleeping({"tensorrt": 0.0}, is_timed=False), INPUTS).figures == {}
    assert len((tmp_path / "opened.txt").read_text().splitlines()) == 1
    assert [name for name, target in TARGETS.items() if not target.is_timed] == [
        *("tflm_int8", "tflm_lut", "ethos_u", "tensorrt")
    ]


class Timer:
    """In place of a process with an open file: an inference takes `seconds`."""

    def __init__(self, seconds, log):
        self.seconds, self.log = seconds, log

    def call(self, function, inputs, warm_up, seconds, most, *, doing, time_limit):
        assert function is worker.time_runs
        self.log.append(self)
        time.sleep(2 * self.seconds)  # one to warm up, and one
        return [self.seconds]


def take_turns(seconds_of, share, narrow=0.0):
    log, causes = [], {}
    timers = {name: Timer(seconds, log) for name, seconds in seconds_of.items()}
    start = time.monotonic()
    turn = latency._Turn(INPUTS, share, latency.ROUNDS, narrow, 60.0, lambda: None)
    turns = latency._take_turns(timers, turn, causes)
    names = {timer: name for name, timer in timers.items()}
    return turns, [names[timer] for timer in log], time.monotonic() - start


def test_a_slow_file_makes_fewer_rounds_and_the_time_stays_bounded():
    turns, _, seconds = take_turns({"fast": 0.0, "slow": 0.05, "slowest": 0.4}, share=0.35)
    assert [len(turns[name]) for name in ("fast", "slow", "slowest")] == [latency.ROUNDS, 3, 1]
    assert seconds < 0.3 + 0.8 + 0.5


def test_a_file_whose_interval_is_narrow_makes_no_further_rounds():
    """By times that are known: one file is the same in every round, the other one twice as slow in each."""

    class Moody(Timer):
        def call(self, *arguments, **options):
            self.seconds *= 2
            return super().call(*arguments, **options)

    log, causes = [], {}
    timers = {"steady": Timer(0.001, log), "moody": Moody(1e-6, log)}
    turn = latency._Turn(INPUTS, 60.0, latency.ROUNDS, latency.NARROW, 60.0, lambda: None)
    turns = latency._take_turns(timers, turn, causes)
    assert [len(turns[name]) for name in timers] == [latency_figures._FEWEST, latency.ROUNDS]
    assert log[: 2 * latency_figures._FEWEST].count(timers["steady"]) == latency_figures._FEWEST  # in turns until then


@pytest.mark.parametrize(("last", "narrow"), [(1.049, True), (1.051, False)])
def test_an_interval_is_narrow_at_a_twentieth_of_the_median(last, narrow):
    assert latency_figures.is_narrow([[1.0], [1.0], [last]], latency.NARROW) is narrow
    assert not latency_figures.is_narrow([[1.0], [last]], latency.NARROW)


def test_files_take_turns_in_another_order_each_round():
    names = ["a", "b", "c", "d"]
    _, order, _ = take_turns(dict.fromkeys(names, 0.0), share=60.0)
    rounds = [order[start : start + len(names)] for start in range(0, len(order), len(names))]
    assert all(sorted(one) == names for one in rounds)
    assert len({tuple(one) for one in rounds}) > latency.ROUNDS / 2
    assert take_turns(dict.fromkeys(names, 0.0), share=60.0)[1] == order  # the same next time


def test_a_file_that_is_being_opened_already_is_not_opened_again(sleeping, tmp_path):
    (name, one), *_ = sleeping({"float32": 0.0}).items()
    with latency.begin_on_one_thread(one.target, one.path, one.source) as pinned:
        found = measure({name: dataclasses.replace(one, pinned=pinned)}, INPUTS)
        assert pinned.is_alive
    assert set(found.figures[name]) == {"one_thread", "all_threads"}
    assert len((tmp_path / "opened.txt").read_text().splitlines()) == 2


def test_tensorflow_on_one_thread_computes_on_one_cpu_with_one_thread(tmp_path):
    """It is forked from a process that has imported TensorFlow on all CPUs."""
    made = export_model(built(), tmp_path, ["saved_model"], evaluation_data=DATA, latency=False, verbose=0)
    names = read_metadata(tmp_path / "saved_model")
    source = Source(tmp_path, *((Port(one["name"], (), ""),) for one in (names["inputs"][0], names["outputs"][0])))
    assert made["formats"]["saved_model"]["status"] == "ok"
    with latency.begin_on_one_thread(TARGETS["saved_model"], tmp_path / "saved_model", source) as process:
        for _ in ("pinning", "opening") if cpus.to_pin() is not None else ("opening",):
            process.finish(doing="opening", time_limit=120)
        process.call(worker.run, [DATA[0][:1]], doing="running", time_limit=120)
        counted = process.call(latency_targets.tensorflow_threads, doing="counting", time_limit=60)
    assert counted == (1, 1, {cpus.to_pin()} if cpus.to_pin() is not None else set(cpus.available()))


def test_litert_is_run_without_tensorflow(report, tmp_path):
    export_model(built(), tmp_path, ["float32"], evaluation_data=DATA, latency=False, verbose=0)
    source = Source(tmp_path, (Port("input", (1, 16, 16, 3), "uint8"),), (Port("output", (), "float32"),))
    with latency.begin_on_one_thread(TARGETS["float32"], tmp_path / "float32.tflite", source) as process:
        for _ in ("pinning", "opening") if cpus.to_pin() is not None else ("opening",):
            process.finish(doing="opening", time_limit=60)
        process.call(worker.run, [DATA[0][:1]], doing="running", time_limit=60)
        modules = process.call(eval, "set(__import__('sys').modules)", doing="looking", time_limit=60)
    assert "ai_edge_litert" in modules
    assert not {"tensorflow", "keras", "tf_keras"} & modules


def test_ctrl_c_is_heard_between_turns():
    def check():
        raise KeyboardInterrupt

    log = []
    with pytest.raises(KeyboardInterrupt):
        latency._take_turns({"a": Timer(0.0, log)}, latency._Turn(INPUTS, 1.0, 8, 0.05, 60.0, check), {})
    assert log == []


@pytest.mark.parametrize(
    ("seconds", "warm_up", "limit", "most", "expected"),
    [(1, 0, 99, 5, (1, 5)), (30, 0, 20, 5, (1, 1)), (2, 5, 11, 50, (3, 3))],
    ids=["most", "one at least", "warm-up counts for the limit"],
)
def test_runs_of_a_turn(monkeypatch, seconds, warm_up, limit, most, expected):
    """By a clock that only runs move."""
    clock = [0]
    monkeypatch.setattr(worker, "time", types.SimpleNamespace(perf_counter=lambda: clock[-1]))
    monkeypatch.setattr(worker, "_open", [lambda inputs: clock.append(clock[-1] + seconds)])
    times = worker.time_runs(INPUTS, warm_up, limit, most)
    assert times == [seconds] * len(times)
    assert (len(clock) - 1 - len(times), len(times)) == expected


def test_an_interval_holds_the_true_median_of_most_samples():
    random, hits = np.random.default_rng(0), 0
    for _ in range(200):
        turns = [random.exponential(1.0, 11) for _ in range(8)]
        # Of the medians of eleven, the median is that of a Beta(6, 6) variable: of the distribution itself.
        found = latency_figures.figures(turns)
        hits += found["low"] <= 1000 * np.log(2) <= found["high"]
    assert 0.88 <= hits / 200 <= 1.0


def test_a_slow_round_does_not_change_the_ratio():
    base = [[0.010], [0.050], [0.011], [0.010], [0.100]]
    other = [[value / 2 for value in turn] for turn in base]
    found = latency_figures.figures(other, base)["ratio_to_float32"]
    assert found == {"median": 0.5, "low": 0.5, "high": 0.5}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of an export in which one file can be opened on all threads only."""
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "BUDGET", 0.5)
        wants_more = dataclasses.replace(TARGETS["float16"], load=latency_targets.load_on_all_threads_only)
        patch.setitem(TARGETS, "float16", wants_more)
        formats = ("float32", "float16", "int8")
        made = export_model(built(), folder, formats, evaluation_data=DATA, verbose=0)
    assert json.loads((folder / "report.json").read_text()) == made
    return made


def test_the_report_has_times_and_says_how_they_were_taken(report):
    for name in ("float32", "int8"):
        assert set(report["formats"][name]["latency_ms"]) == {"one_thread", "all_threads"}
    text, marked, html = table(report), markdown(report), page(report)
    times = report["formats"]["int8"]["latency_ms"]
    assert text.splitlines()[0].split("  ")[-1].strip() == "of float32"
    row = next(line for line in text.splitlines() if line.startswith("int8"))
    expected = times["one_thread"]
    cells = [float(value.replace(",", "")) for value in row.split()[-2:]]
    assert cells == pytest.approx([expected["median"], expected["ratio_to_float32"]["median"]], rel=0.01)
    assert f"{times['all_threads']['median']:#.3g}" in marked
    for shown in (marked, html):
        assert "the median and its 95% interval (bootstrap over rounds)" in shown
    assert f"{times['one_thread']['ratio_to_float32']['median']:#.3g} of float32" in html
    assert parse(report).rows[3].latency["all_threads"].median == times["all_threads"]["median"]


def test_a_file_that_cannot_be_timed_is_delivered_and_told_of(report):
    entry = report["formats"]["float16"]
    assert entry["status"] == "ok"
    assert "latency_ms" not in entry
    assert "`float16` could not be timed: it wants more threads." in markdown(report)
    assert "could not be timed: it wants more threads." in page(report)


def test_nothing_is_timed_unasked(tmp_path):
    made = export_model(built(), tmp_path, ["float32"], evaluation_data=DATA, latency=False, verbose=0)
    assert "latency_ms" not in made["formats"]["float32"]
    assert made["latency"] == {}
    assert "ms, 1 thread" not in table(made) + markdown(made) + page(made)


def test_the_callback_hands_the_wish_on(tmp_path, monkeypatch):
    asked = []

    def export(model, settings):
        asked.append(settings.latency)
        return {"formats": {"float32": {"status": "ok"}}}

    monkeypatch.setattr(callback, "export", export)
    for wish in (True, False):
        fitted(built(), ExportQuantizedCallback(tmp_path, ["float32"], latency=wish, verbose=0))
    assert asked == [True, False]


def test_a_report_with_impossible_ratios_is_refused():
    times = {"one_thread": {"median": 1.0, "ratio_to_float32": {"median": -2.0}}}
    with pytest.raises(CorruptFileError, match="above 0"):
        parse({"model": {}, "formats": {"int8": {"latency_ms": times}}})


@pytest.mark.skipif(not sys.platform.startswith("linux") or len(cpus.available()) < 2, reason="counts threads in /proc")
def test_all_threads_of_litert_are_more_than_one(report, tmp_path):
    export_model(built(), tmp_path, ["float32"], evaluation_data=DATA, latency=False, verbose=0)
    threads = {}
    for wanted in (1, None):
        with Process() as process:
            source = Source(tmp_path, (Port("input", (1, 16, 16, 3), "uint8"),), (Port("output", (), "float32"),))
            arguments = litert.load, tmp_path / "float32.tflite", source, wanted
            process.call(worker.open_file, *arguments, doing="opening", time_limit=60)
            threads[wanted] = process.call(latency_targets.number_of_threads, doing="counting", time_limit=60)
    assert threads[None] == threads[1] + len(cpus.available()) - 1
