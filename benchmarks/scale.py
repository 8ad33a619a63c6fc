"""What compression costs as work grows: larger U-Nets, larger batches, more workers.

    python benchmarks/scale.py [--only steps|once|by_hand|workers] [--weights 0.5M] [--table]

steps: a step with pruning over a plain one, in turn, on images of 32 pixels. Small images are the worst case: pruning
  costs by the weight, a step by the pixel too. Masks are renewed every 100 steps, see `once`.
once: in a process of its own for each size.
  The seconds of one renewal of all masks, of clustering to 16 values, and of an export of `float32` and `int8`.
  The most memory that the process and its children had in use in that export, above what was in use before. Of shared
  pages each has its part. It is looked at once a second, since a look costs CPU.

by_hand: TensorFlow's own converter on the same network, in a process for each file.
  The most memory that it had, above its imports.

workers: the ratio of steps once more, by one and by two processes over loopback.
  They are of MultiWorkerMirroredStrategy (`tf_keras`), and each has a batch of 16 of its own.

A ratio is the median over rounds with its 95% interval by bootstrap. Results are appended to
benchmarks/results.jsonl, and what stands there is not measured again. The tables go into docs/scale.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import contextlib
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.aerial import ROOT, Study
from benchmarks.data_memory import resident
from benchmarks.export_by_hand import write_litert, write_saved_model
from benchmarks.peak import highest
from benchmarks.steps import begin, compiled, in_turn, interval, step_on

FILTERS = {"0.5M": 16, "2.0M": 32, "7.8M": 64, "31M": 128, "60M": 178}  # of the U-Net, by its weights
BATCHES, OF_EACH_WORKER = (1, 16, 64), 16
BY_HAND = ("float32", "int8")
OF_WORKERS = ("0.5M", "2.0M", "31M")  # sizes whose steps are made by workers
SIZE, CLASSES, EVERY = 32, 4, 100
SECONDS, ROUNDS = 20.0, (6, 60)  # of one cell of the table, as many rounds as they allow
WORKERS, ROUNDS_OF_WORKERS = (1, 2), 12  # as many rounds on each worker, or one would wait for the other


# --- steps -----------------------------------------------------------------------------------------------------------


def batches(size: int) -> tf.data.Dataset:
    """One batch of noise, for ever."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (size, SIZE, SIZE, 3)).astype("uint8")
    labels = random.integers(0, CLASSES, (size, SIZE, SIZE)).astype("int32")
    return tf.data.Dataset.from_tensors((images, labels)).cache().repeat()


def network(weights: str) -> Any:
    """The U-Net of so many weights, built and compiled."""
    from segopt_callbacks.compat import keras
    from train_unet.unet import UNet

    model = UNet(CLASSES, FILTERS[weights])
    model.build((None, SIZE, SIZE, 3))
    return compiled(model, keras)


def pruning(model: Any) -> Any:
    """The callback, begun; all its masks are made."""
    from segopt_callbacks import PolynomialDecay, PruningScheduleCallback

    schedule = PolynomialDecay(0.5, 0.9, begin_step=0, end_step=10_000, frequency=EVERY)
    return begin(PruningScheduleCallback(schedule, verbose=0), model)


def ratio(weights: str, data: Callable[[], Iterator[Any]], rounds: int = 0) -> dict[str, Any]:
    """A step with pruning over a plain one; `data` makes an iterator, within the strategy of the models."""
    model = network(weights)
    steps = {
        "plain": step_on(data(), network(weights)),
        "pruned": step_on(data(), model, after=pruning(model).on_train_batch_end),
    }
    first = in_turn(steps, 1, warm_up=2)
    rounds = rounds or int(np.clip(SECONDS / sum(one[0] for one in first.values()), *ROUNDS))
    seconds = in_turn(steps, rounds, warm_up=0)
    middle, low, high = interval(np.divide(seconds["pruned"], seconds["plain"]))
    plain = float(np.median(seconds["plain"]))
    return {"seconds": plain, "ratio": middle, "low": low, "high": high, "rounds": rounds}


# --- once ------------------------------------------------------------------------------------------------------------


def in_use() -> int:
    """Bytes of this process and all its children, shared pages in proportion."""
    total, waiting = 0, [os.getpid()]
    while waiting:
        pid = waiting.pop()
        with contextlib.suppress(OSError, StopIteration):  # it has ended meanwhile
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return total


def timed(work: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def seconds_of_a_renewal(model: Any) -> float:
    """The longest end of a batch, of as many as there are between two renewals of the masks."""
    callback, seconds = pruning(model), list[float]()
    step = step_on(
        iter(batches(1)), model, after=lambda index: seconds.append(timed(callback.on_train_batch_end, index))
    )
    for _ in range(EVERY + 1):
        step()
    return max(seconds[1:])


def examples() -> np.ndarray:
    """What shows the ranges of tensors."""
    return np.random.default_rng(1).integers(0, 256, (16, SIZE, SIZE, 3), np.uint8)


def once(weights: str) -> dict[str, Any]:
    """Seconds of a renewal of masks, of clustering and of an export, and the memory that the export needed."""
    from segopt_callbacks import ClusterOnTrainEndCallback, export_model

    model = network(weights)
    renewal = seconds_of_a_renewal(model)
    clustering = begin(ClusterOnTrainEndCallback(16, verbose=0), model)
    cluster = timed(clustering.on_train_end)
    images = examples()
    before = in_use()
    with tempfile.TemporaryDirectory() as folder, highest(in_use, 1.0) as most:
        settings = {"representative_dataset": lambda: ([one[np.newaxis]] for one in images), "latency": False}
        export = timed(lambda: export_model(model, folder, ("float32", "int8"), verbose=0, **settings))
    return {"renewal": renewal, "cluster": cluster, "export": export, "memory": most[0] - before}


# --- by hand ---------------------------------------------------------------------------------------------------------


def by_hand(weights: str, number: int) -> dict[str, Any]:
    """The memory of one conversion, in a process that does nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        result_of(begun("--save", weights, folder))
        return result_of(begun("--convert", BY_HAND[number], folder))


def save(weights: str, folder: str) -> dict[str, Any]:
    """Leaves the SavedModel that a conversion begins with."""
    write_saved_model(network(weights), Path(folder) / "saved_model", (None, SIZE, SIZE, 3))
    return {}


def convert(name: str, folder: str) -> dict[str, Any]:
    """Memory of one conversion above what this process had in use before, and bytes of the file."""
    before = resident() * 1e6
    saved, path = Path(folder) / "saved_model", Path(folder) / f"{name}.tflite"
    write_litert(saved, path, examples() if name == "int8" else None)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"memory": int(most - before), "bytes": path.stat().st_size}


# --- workers ---------------------------------------------------------------------------------------------------------


def worker(weights: str, index: int, ports: str) -> dict[str, Any]:
    """One of the processes; all make the same steps in the same order."""
    names = [f"127.0.0.1:{port}" for port in ports.split(",")]
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": names}, "task": {"type": "worker", "index": index}})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    data = batches(OF_EACH_WORKER * len(names))
    with strategy.scope():
        return ratio(weights, lambda: iter(strategy.experimental_distribute_dataset(data)), ROUNDS_OF_WORKERS)


def several(weights: str, count: int) -> dict[str, Any]:
    """What the first of `count` workers has measured."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = ",".join(str(one.getsockname()[1]) for one in sockets)
    for one in sockets:
        one.close()
    started = [begun("--worker", weights, str(index), ports, legacy="1") for index in range(count)]
    results = [result_of(one) for one in started]
    return results[0]


def begun(*arguments: str, legacy: str = "0") -> subprocess.Popen[str]:
    """This script in a process of its own."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": legacy}
    command = [sys.executable, "-m", "benchmarks.scale", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The last line that it printed."""
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"a process of this benchmark has ended with {process.returncode}")
    return json.loads(output.splitlines()[-1])


# --- tables ----------------------------------------------------------------------------------------------------------


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """Three tables: of each size steps and what happens once; of workers."""
    names = {what: [one for part, one, _ in results if part == what] for what in ("steps", "once", "workers")}
    lines = ["Steps, pruned by plain:", "", _row("weights", *(f"batch {one}" for one in BATCHES))]
    lines += ["|---|---:|---:|---:|"]
    for weights in dict.fromkeys(names["steps"]):
        cells = [results.get(("steps", weights, batch)) for batch in BATCHES]
        lines.append(_row(weights, *(_ratio(one) for one in cells)))
    lines += ["", "What happens once:", ""]
    of_hand = [f"`{name}` by hand" for name in BY_HAND]
    lines += [_row("weights", "all masks anew, s", "clustering, s", "export, s", "its memory, MB", *of_hand)]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for weights in dict.fromkeys(names["once"]):
        one = results["once", weights, 0]
        times = [f"{one[name]:.2f}" for name in ("renewal", "cluster")] + [f"{one['export']:.1f}"]
        memories = [one, *(results.get(("by_hand", weights, number)) for number in range(len(BY_HAND)))]
        lines.append(_row(weights, *times, *(f"{entry['memory'] / 1e6:,.0f}" if entry else "" for entry in memories)))
    lines += ["", "Workers, `tf_keras`:", "", _row("weights", *(f"{one} worker{'s'[: one - 1]}" for one in WORKERS))]
    lines += ["|---|---:|---:|"]
    for weights in dict.fromkeys(names["workers"]):
        lines.append(_row(weights, *(_ratio(results.get(("workers", weights, count))) for count in WORKERS)))
    return "\n".join(lines)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _ratio(one: dict[str, Any] | None) -> str:
    return f"{one['ratio']:.3f} ({one['low']:.3f} to {one['high']:.3f}), {one['seconds']:.2g} s" if one else ""


STUDY = Study("scale", "scale.md", "results.md", keys=("part", "weights", "number"), table=table)
PARTS: dict[str, tuple[tuple[int, ...], Callable[[str, int], dict[str, Any]]]] = {
    "steps": (BATCHES, lambda weights, batch: result_of(begun("--steps", weights, str(batch)))),
    "once": ((0,), lambda weights, _: result_of(begun("--once", weights))),
    "by_hand": (tuple(range(len(BY_HAND))), by_hand),
    "workers": (WORKERS, several),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one of the parts")
    parser.add_argument("--weights", choices=FILTERS, help="one of the sizes")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the tables of what there is")
    for own in ("steps", "once", "save", "convert", "worker"):
        parser.add_argument(f"--{own}", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.steps:
        weights, batch = arguments.steps
        print(json.dumps(ratio(weights, lambda: iter(batches(int(batch))))))
    elif arguments.once:
        print(json.dumps(once(*arguments.once)))
    elif arguments.save:
        print(json.dumps(save(*arguments.save)))
    elif arguments.convert:
        print(json.dumps(convert(*arguments.convert)))
    elif arguments.worker:
        weights, index, ports = arguments.worker
        print(json.dumps(worker(weights, int(index), ports)))
    else:
        measure(arguments)
    return 0


def measure(arguments: argparse.Namespace) -> None:
    """What is asked for and not there yet; then the tables."""
    for part in [] if arguments.table else [arguments.only] if arguments.only else PARTS:
        numbers, work = PARTS[part]
        sizes = OF_WORKERS if part == "workers" else FILTERS
        for weights in [arguments.weights] if arguments.weights else sizes:
            for number in numbers:
                if (part, weights, number) not in STUDY.results():
                    STUDY.add((part, weights, number), work(weights, number))
    print(STUDY.write())


if __name__ == "__main__":
    sys.exit(main())
