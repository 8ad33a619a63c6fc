"""The main job, `train.py --goal=balanced`, over ten seeds, beside other ways, plain training and a wider U-Net.

    python benchmarks/main_job.py [--only WAY] [--seed SEED] [--table]

Each is the program itself, in a process of its own with threads as they are, and its files' figures are those of its
report. Bytes are those of the file, and of it after `gzip -9`; mIoU is that of the file on the whole test split.
Results are appended to benchmarks/results.jsonl, and what stands there is not measured again. A run takes 2 to 5
minutes on two idle cores. The table goes into both READMEs.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.aerial import ROOT, Study

WIDE, PLAIN, COMPRESSED = "--growth=2", "plain training", "--prune --cluster"  # the first has 0.49M weights
BALANCED, SMALLEST = "--goal=balanced", "--goal=smallest"
FILES = {  # in the order of the table, whose sizes are ratios to the first
    WIDE: ("float32",),
    PLAIN: ("float32", "int8"),
    COMPRESSED: ("float32", "dynamic_int8", "int8"),
    BALANCED: ("int8",),
    SMALLEST: ("dynamic_int8", "int4"),
}
FLAGS = {way: [] if way == PLAIN else way.split() for way in FILES}
SEEDS = {WIDE: range(5), PLAIN: range(5), COMPRESSED: range(10), BALANCED: range(10), SMALLEST: range(5)}
PAGES = {"en": ("../README.md", "results.md"), "zh": ("../README.zh-CN.md",)}
HEADERS = {
    "en": "made by | file | seeds | test mIoU | kB | kB after gzip | times smaller after gzip",
    "zh": "训练方式 | 文件 | 种子数 | 测试集 mIoU | kB | gzip 后 kB | gzip 后缩小倍数",
}
WORDS = {"en": {PLAIN: PLAIN}, "zh": {PLAIN: "普通训练"}}


def measure(way: str, seed: int) -> dict[str, Any]:
    """Runs the program once: bytes and mIoU of each file."""
    with tempfile.TemporaryDirectory() as directory:
        formats = f"--export_formats={','.join(FILES[way])}"
        flags = [*FLAGS[way], formats, f"--seed={seed}", f"--output_dir={directory}", "--nolatency"]
        command = [sys.executable, "train.py", *flags]
        subprocess.run(command, cwd=ROOT / "train_unet", check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})
        report = json.loads((Path(directory) / "export" / "report.json").read_text())
    result = {}
    for name in FILES[way]:
        entry = report["formats"][name]
        result |= {
            f"{name}_metric": round(entry["metrics"]["mIoU"], 4),
            f"{name}_gzip": entry["gzip_bytes"],
            f"{name}_bytes": entry["bytes"],
        }
    return result


def table(results: Mapping[tuple, dict[str, Any]], language: str = "en") -> str:
    """A row for each file: the mean over the seeds, and the lowest and highest mIoU."""
    header = HEADERS[language]
    lines = [f"| {header} |", "|---|---|---:|---|---:|---:|---:|"]
    first = [one for (way, _), one in results.items() if way == WIDE]
    if not first:
        return "\n".join(lines)
    packed = mean(first, "float32_gzip")
    words = WORDS[language]
    for way, names in FILES.items():
        rows = [one for (name, _), one in results.items() if name == way]
        lines += [f"| {words.get(way, f'`{way}`')} | {row(rows, name, packed)} |" for name in names if rows]
    return "\n".join(lines)


def row(rows: list[dict[str, Any]], name: str, packed: float) -> str:
    """The cells of one file; `packed` is the size of the file that others are compared with, after gzip."""
    metrics = [one[f"{name}_metric"] for one in rows]
    miou = f"{np.mean(metrics):.3f}"
    miou += f" ({min(metrics):.3f} to {max(metrics):.3f})" if len(metrics) > 1 else ""
    size, small = mean(rows, f"{name}_bytes") / 1e3, mean(rows, f"{name}_gzip")
    sizes = f"{size:,.0f} | {small / 1e3:,.0f} | {packed / small:.0f}"
    return f"`{name}.tflite` | {len(rows)} | {miou} | {sizes}"


def mean(rows: list[dict[str, Any]], key: str) -> float:
    return float(np.mean([one[key] for one in rows]))


STUDIES = [
    Study("main_job", *pages, keys=("way", "seed"), table=functools.partial(table, language=language))
    for language, pages in PAGES.items()
]
STUDY = STUDIES[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=FLAGS, help="one of the ways")
    parser.add_argument("--seed", type=int, help="one of the seeds")
    parser.add_argument("--table", action="store_true", help="train nothing, write the table of what there is")
    arguments = parser.parse_args()
    for way in [] if arguments.table else ([arguments.only] if arguments.only else FLAGS):
        for seed in SEEDS[way] if arguments.seed is None else [arguments.seed]:
            if (way, seed) not in STUDY.results():
                start = time.perf_counter()
                STUDY.add((way, seed), measure(way, seed))
                print(f"{way}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    for study in STUDIES:
        print(study.write())
    return 0


if __name__ == "__main__":
    sys.exit(main())
