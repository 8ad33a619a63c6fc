"""What a trained U-Net weighs and how long one inference takes, in our formats and in files made by hand; in one run.

    python benchmarks/export.py [--base_filters 16,32] [--formats float32,int8,...] [--speed] [--write]

Trains the U-Net on the embedded land-cover images (128 pixels) for an epoch, so that int8 sees sensible ranges; the
weights are kept, and a second run starts from them. Then every format of ours is exported, and beside them what people
write by hand: `model.export`, TensorFlow's converter from that SavedModel in float32 and int8, OpenVINO in float and in
int8 through NNCF. All int8 files see the same images.

Latency: batch 1, from NumPy arrays to NumPy arrays, in a process of its own for each file; on one thread, pinned to one
CPU, and on all. In each round every file has a turn of a few runs, in a new random order, so that a busy moment slows
all alike. A figure is the median over rounds of the median of a turn, with its 95% interval by bootstrap over rounds.
Ratios, to OpenVINO int8 by hand, are taken round by round. Times of conversion are those of one conversion; ours
include opening and auditing the file.

`--speed` measures whole exports beside the same files converted by hand instead, see `export_speed`.
With `--write` the tables go into docs/latency.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import contextlib
import importlib.metadata
import platform
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import export_by_hand as by_hand
from benchmarks import export_speed
from segopt_callbacks import export_model, reestimate_batch_norm
from segopt_callbacks.compat import keras
from segopt_callbacks.export.checks.latency import Latencies, Opened, measure
from segopt_callbacks.export.checks.latency_figures import cell, interval
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.source import Source
from segopt_callbacks.processes import worker
from segopt_callbacks.processes.process import Process
from segopt_callbacks.records.ports import Port
from segopt_callbacks.sizes import file_bytes, gzip_bytes
from train_unet.data import datasets, load
from train_unet.folder import DataFolder, open_folder
from train_unet.training import compile_model
from train_unet.unet import UNet

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "latency.md"
BASE = by_hand.OPENVINO
GOAL = 1.05  # of the fastest deliverable, times `BASE`
TIME_LIMIT = 1800.0  # seconds
HEAD = ("file", "bytes", "gzip", "seconds", "equal argmax")
TIMES = ("ms, {}", "ratio")  # on one thread, then on all
Row = dict[str, Any]


def trained(folder: DataFolder, base_filters: int, epochs: int, steps: int | None, cache: Path) -> Any:
    """The U-Net, from the cache if it was trained before."""
    keras.utils.set_random_seed(0)
    model = UNet(len(folder.classes), base_filters)
    model.build((None, *folder.image_size, 3))
    path = cache / f"trained_{base_filters}_{epochs}_{steps}.weights.h5"
    if path.exists():
        model.load_weights(path)
        return model
    train = datasets(folder, batch_size=8)["train"]
    train = train if steps is None else train.take(steps)
    compile_model(model, folder.classes, steps=epochs * len(train))
    model.fit(train, epochs=epochs, verbose=2, shuffle=False)
    reestimate_batch_norm(model, train)  # moving averages of few steps are far from the statistics, and ranges wide
    model.save_weights(path)
    return model


def export_ours(model: Any, formats: tuple[str, ...], examples: np.ndarray, test: np.ndarray, folder: Path) -> Any:
    """Our report; what fails is told and left out."""
    tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    export_model(tiny, folder / "tiny", ["float32"], latency=False, verbose=0)  # starts TensorFlow for the next one
    return export_model(
        model,
        folder / "ours",
        formats,
        representative_dataset=lambda: ([examples[index : index + 1]] for index in range(len(examples))),
        evaluation_data=tf.data.Dataset.from_tensor_slices(test).batch(8).map(lambda x: (x, tf.zeros(len(x)))),
        on_failure="warn",
        time_limit=TIME_LIMIT,
        latency=False,
    )


def rows_of(
    model: Any, formats: tuple[str, ...], examples: np.ndarray, test: np.ndarray, folder: Path
) -> tuple[dict[str, Row], dict[str, tuple[Any, Path, Source]]]:
    """Exports in every way: what is known of each file, and how it is opened."""
    report = export_ours(model, formats, examples, test, folder)
    seconds = by_hand.write_all(model, examples, folder / "by_hand")
    rows: dict[str, Row] = {}
    opened: dict[str, tuple[Any, Path, Source]] = {}
    source = source_of(report, folder)
    for name, entry in report["formats"].items():
        if entry["status"] == "ok":
            rows[name] = {key: entry[key] for key in ("bytes", "gzip_bytes", "seconds")}
            opened[name] = TARGETS[name], folder / "ours" / entry["file"], source
    for name, file in by_hand.WRITTEN_BY_HAND.items():
        path = folder / "by_hand" / file
        weighed = path.parent if path.suffix == ".xml" else path
        rows[name] = {"bytes": file_bytes(weighed), "gzip_bytes": gzip_bytes(weighed), "seconds": seconds[name]}
        target, names = by_hand.target_of(path)
        opened[name] = target, path, names
    return rows, opened


def source_of(report: Any, folder: Path) -> Source:
    """Names of our inputs and outputs, which all formats share."""
    saved = folder / "ours" / TARGETS["saved_model"].file_name
    with Process() as process:
        names = process.call(by_hand.saved_model_ports, saved, doing="reading names", time_limit=TIME_LIMIT)
    inputs, outputs = (tuple(Port(name, (), "") for name in part) for part in names)
    return Source(folder, inputs, outputs)


def timed(
    opened: Mapping[str, tuple[Any, Path, Source]], test: np.ndarray, budget: float, rounds: int, expected: np.ndarray
) -> tuple[Latencies, dict[str, float]]:
    """Latencies of all files, and the fraction of pixels of the model's class of each."""
    agreement = {}
    with contextlib.ExitStack() as closing:
        files = {}
        for name, (target, path, source) in opened.items():
            process = closing.enter_context(Process())
            arguments = target.load, path, source, None
            process.call(worker.open_file, *arguments, doing=f"opening {name}", time_limit=TIME_LIMIT)
            (answers,) = process.call(worker.run, [test], doing=f"running {name}", time_limit=TIME_LIMIT)
            agreement[name] = float(np.mean(answers.argmax(-1) == expected.argmax(-1)))
            files[name] = Opened(target, path, source, process)
        latencies = measure(files, [test[:1]], budget=budget, rounds=rounds, narrow=0.0, time_limit=TIME_LIMIT)
    return latencies, agreement


def table(rows: Mapping[str, Row], latencies: Latencies) -> tuple[list[str], dict[str, float]]:
    """Markdown, fastest first, and each file's ratio to `BASE` on one thread."""
    fastest = {name: of["one_thread"]["median"] for name, of in latencies.figures.items()}
    head = [*HEAD, *(text.format(threads) for threads in ("1 thread", "all threads") for text in TIMES)]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    ratios = {}
    for name in sorted(latencies.figures, key=fastest.__getitem__):
        row, cells = rows[name], []
        for key in ("one_thread", "all_threads"):
            ours, theirs = latencies.turns[key][name], latencies.turns[key][BASE]
            ratio = interval(np.array([np.median(a) / np.median(b) for a, b in zip(ours, theirs, strict=False)]))
            ratios.setdefault(name, ratio["median"])
            cells += [cell(latencies.figures[name][key], with_interval=True), cell(ratio, with_interval=True)]
        words = [f"{row['bytes']:,}", f"{row['gzip_bytes']:,}", f"{row['seconds']:.1f}", f"{row['equal_argmax']:.4f}"]
        lines.append(f"| {' | '.join([name, *words, *cells])} |")
    return lines, ratios


def verdict(rows: Mapping[str, Row], ratios: Mapping[str, float]) -> str:
    """Whether the fastest file of ours is as fast as `BASE`."""
    ours = {name: ratio for name, ratio in ratios.items() if name in TARGETS}
    best = min(ours, key=ours.__getitem__)
    met = "met" if ours[best] <= GOAL else "not met"
    return f"The fastest of ours, `{best}`, takes {ours[best]:.3f} of the time of {BASE}. Goal: {GOAL}, {met}."


def study(base_filters: int, arguments: argparse.Namespace, formats: tuple[str, ...]) -> list[str]:
    """All lines about one U-Net."""
    folder = open_folder(arguments.data_dir, size_multiple=8)
    place = arguments.folder / str(base_filters)
    place.mkdir(parents=True, exist_ok=True)
    model = trained(folder, base_filters, arguments.epochs, arguments.steps, arguments.folder)
    examples, test = (
        np.stack([image for image, _ in data.as_numpy_iterator()])
        for data in (load(folder, "train").shuffle(1000, seed=0).take(arguments.examples), load(folder, "test"))
    )
    run = place / time.strftime("%Y%m%d-%H%M%S")
    rows, opened = rows_of(model, formats, examples, test, run)
    expected = np.asarray(model.predict(test, batch_size=8, verbose=0))
    wait_for_quiet(arguments.wait)
    latencies, agreement = timed(opened, test, arguments.budget, arguments.rounds, expected)
    for name, row in rows.items():
        row["equal_argmax"] = agreement[name]
    lines, ratios = table(rows, latencies)
    told = [f"- {name}: not timed: {cause}" for name, cause in latencies.causes.items()]
    title = f"### Base {base_filters}: {model.count_params():,} parameters"
    return [title, "", *lines, *told, "", verdict(rows, ratios), "", "```text", *circumstances(latencies), "```", ""]


def circumstances(latencies: Latencies) -> list[str]:
    """On what, how busy it was, and with which packages."""
    settings = latencies.settings
    load, after = settings["load_average"], os.getloadavg()[0]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return [
        f"{cpu_name()}, {settings['cpus']} CPUs, one thread pinned to CPU {settings['pinned_to_cpu']}",
        f"load average {load:.2f} before, {after:.2f} after; up to {settings['rounds']} rounds",
        versions,
    ]


PACKAGES = ("tensorflow", "ai-edge-litert", "onnxruntime", "openvino", "nncf")


def cpu_name() -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def wait_for_quiet(seconds: float) -> None:
    """Until nobody else computes, or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and os.getloadavg()[0] >= 1:
        time.sleep(10)


def chosen_formats(names: str | None) -> tuple[str, ...]:
    """The formats asked for, with the SavedModel, which tells the names of inputs; all that are timed by default."""
    timed_ones = [name for name, target in TARGETS.items() if target.is_timed]
    wanted = timed_ones if names is None else names.split(",")
    unknown = sorted(set(wanted) - set(timed_ones))
    if unknown:
        raise SystemExit(f"--formats must be of {', '.join(timed_ones)}. Received: {', '.join(unknown)}.")
    return tuple(dict.fromkeys(["saved_model", *wanted]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base_filters", default="16,32", help="channels at full resolution, separated by commas")
    parser.add_argument("--formats", help="ours, separated by commas; default: all that can be timed")
    parser.add_argument("--data_dir", default=ROOT / "train_unet" / "data" / "landcover")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "benchmark_export", help="for all files")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="of an epoch; default: all")
    parser.add_argument("--examples", type=int, default=100, help="images that show int8 its ranges")
    parser.add_argument("--budget", type=float, default=240.0, help="seconds of runs for each network")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait at most for a load average below 1")
    parser.add_argument("--speed", action="store_true", help="whole exports beside conversions by hand instead")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/latency.md")
    arguments = parser.parse_args()
    if arguments.speed:
        lines = [line for case in export_speed.CASES for line in export_speed.study(case, 3, arguments.examples)]
        return written(lines, "benchmarks/export.py --speed", arguments.write)
    formats = chosen_formats(arguments.formats)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for base_filters in map(int, arguments.base_filters.split(",")):
        lines += study(base_filters, arguments, formats)
    return written(lines, "benchmarks/export.py", arguments.write)


def written(lines: list[str], table: str, is_wanted: bool) -> int:
    """Prints lines, and puts them into the page if that is wanted; returns an exit code."""
    text = "\n".join(lines)
    print(text, flush=True)
    if is_wanted:
        mark = f"<!-- table: {table} -->\n"
        before, rest = PAGE.read_text().split(mark)
        _, after = rest.split("<!-- end -->", 1)
        PAGE.write_text(f"{before}{mark}{text}<!-- end -->{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
