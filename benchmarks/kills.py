"""Kills trainings at random moments, resumes them, and compares what they leave with a run that nobody killed.

    python benchmarks/kills.py --kills=20     # 20 to 60 minutes on 2 cores

Prints the table of docs/interruptions.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import warm  # noqa: E402

SIDE, IMAGES = 32, {"train": 24, "val": 4, "test": 4}
FLAGS = (
    *("--epochs=3", "--batch_size=4", "--base_filters=4", "--levels=2", "--nolatency", "--backup_minutes=0.005"),
    *("--prune", "--target_sparsity=0.8", "--distribution=uniform", "--cluster", "--cluster_begin=0.5"),
    "--export_formats=float32",
)
PHASES = (("Epoch 1/", "training"), ("Epoch 2/", "pruning"), ("Epoch 3/", "clustering"), ("export: ", "export"))


@dataclass
class Watched:
    """A process of the training, and when each of its phases began.

    Attributes:
        process: that runs.
        began: phase -> seconds since the start.
    """

    process: subprocess.Popen[str]
    start: float = field(default_factory=time.monotonic)
    began: dict[str, float] = field(default_factory=dict)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            for beginning, phase in PHASES:
                if line.startswith(beginning):
                    self.began.setdefault(phase, time.monotonic() - self.start)
            if line.startswith("6/6") and "clustering" in self.began:
                self.began.setdefault("between", time.monotonic() - self.start)


def write_data(folder: Path) -> None:
    """Two classes that differ in colour, and noise."""
    draw = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows = [("name", "split")]
    for split, count in IMAGES.items():
        for index in range(count):
            mask = np.kron(draw.integers(0, 2, (4, 4)), np.ones((SIDE // 4, SIDE // 4))).astype(np.uint8)
            image = np.where(mask[..., None], (200, 90, 60), (40, 120, 90)) + draw.integers(-40, 40, (SIDE, SIDE, 3))
            Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / "images" / f"{split}_{index}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{split}_{index}.png")
            rows.append((f"{split}_{index}", split))
    with (folder / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    about = {"classes": ["field", "roof"], "palette": [[40, 120, 90], [200, 90, 60]], "tile": SIDE}
    (folder / "classes.json").write_text(json.dumps(about))


def start(data: Path, out: Path, *more: str) -> Watched:
    command = [
        sys.executable,
        str(ROOT / "train_unet" / "train.py"),
        *FLAGS,
        f"--data_dir={data}",
        f"--output_dir={out}",
        *more,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["TF_DETERMINISTIC_OPS"] = "1"  # two whole runs differ in the last bits of sums without it
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    return Watched(warm.Popen(command, env=environment, **pipes))  # type: ignore[call-overload]


def run_whole(data: Path, out: Path, *more: str) -> Watched:
    watched = start(data, out, *more)
    watched.read()
    if watched.process.wait():
        raise RuntimeError(f"The training must end with 0. Received: {watched.process.returncode}, {out}.")
    return watched


def run_killed(data: Path, out: Path, phase: str, delay: float) -> str:
    """Kills a new run `delay` seconds into a phase; returns the phase that it was in."""
    watched = start(data, out)
    reader = threading.Thread(target=watched.read)
    reader.start()
    while phase not in watched.began and watched.process.poll() is None:
        time.sleep(0.005)
    time.sleep(delay)
    watched.process.send_signal(signal.SIGKILL)
    watched.process.wait()
    reader.join()
    return max(watched.began, key=lambda one: watched.began[one], default="start")


def weights(path: Path) -> dict[str, np.ndarray]:
    """The weights in a `.keras` file by name, without the optimizer's."""
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            found[name] = item[()]

    with zipfile.ZipFile(path) as file, file.open("model.weights.h5") as content, h5py.File(content) as opened:
        opened.visititems(visit)
    return found


def kernels(path: Path) -> list[np.ndarray]:
    return [value for _, value in sorted(weights(path).items()) if value.ndim == 4]


def differences(out: Path, whole: Path) -> list[str]:
    """How a run that was resumed differs from the whole one: zeros, values, kernels, files."""
    pairs = list(zip(kernels(out / "model.keras"), kernels(whole / "model.keras"), strict=True))
    same = [
        all((one == 0).sum() == (other == 0).sum() for one, other in pairs),
        all(np.unique(one).size == np.unique(other).size for one, other in pairs),
        all(np.array_equal(one, other) for one, other in pairs),
    ]
    told = ["the same" if one else "DIFFERENT" for one in same]
    contents = [(folder / "export" / "float32.tflite").read_bytes() for folder in (out, whole)]
    if contents[0] == contents[1]:
        return [*told, "the same"]
    ours, others = weights(out / "model.keras"), weights(whole / "model.keras")
    return [*told, f"weights within {max(float(abs(ours[name] - others[name]).max()) for name in others):.0e}"]


def left_behind(out: Path) -> str:
    """What a killed run has left under the names of finished things, and whether that is finished."""
    if (out / "run.json").exists() and json.loads((out / "run.json").read_text()).get("has_ended"):
        return "everything: it had ended"
    told = [name for name in ("backup/model.npz", "model.keras", "export/report.json") if (out / name).exists()]
    if "model.keras" in told:
        share = min(float((one == 0).mean()) for one in kernels(out / "model.keras"))
        told[told.index("model.keras")] = f"model.keras ({share:.0%} zeros)"
    half = [path.name for path in out.glob("export/*.tflite") if not (out / "export" / "report.json").exists()]
    return ", ".join([*told, *half]) or "nothing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_data(data)
        whole = run_whole(data, Path(folder) / "whole")
        ends = [*sorted(whole.began.values()), time.monotonic() - whole.start]
        lengths = {phase: ends[ends.index(begin) + 1] - begin for phase, begin in whole.began.items()}
        print("| kill | phase | left | zeros | values | kernels | file |\n|---|---|---|---|---|---|---|", flush=True)
        for kill in range(arguments.kills):
            out = Path(folder) / f"killed_{kill}"
            phase = list(lengths)[kill % len(lengths)]
            seen = run_killed(data, out, phase, draw.uniform(0, lengths[phase]))
            left = left_behind(out)
            run_whole(data, out, "--resume")
            cells = differences(out, Path(folder) / "whole")
            print(f"| {kill + 1} | {seen} | {left} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
