"""What removing dead channels wins: bytes and latency of files with `channel()`'s channels removed, and kept.

    python benchmarks/speed.py [--filters 32] [--sparsities 0.5 0.7] [--multiples 1] [--size 128] [--rounds 60]

A U-Net of random weights loses whole channels by `channel()` within one short fit on noise; what it answers does not
matter to its speed, and no accuracy is claimed. Every model is exported twice, with its channels and without. Then all
files are opened in this process on one thread each and run in turn, so that whatever else the machine does meets all
alike. A figure is the median over rounds with its 95% interval by bootstrap; a ratio is taken round by round.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from segopt_callbacks import PruningScheduleCallback, channel, export_model
from segopt_callbacks.compat import keras
from segopt_callbacks.export.checks.latency_figures import interval
from train_unet.unet import UNet

FORMATS = ("float32", "int8")
WARM_UP = 5
CLASSES = 4


def pruned(filters: int, size: int, sparsity: float, multiple: int) -> Any:
    """A U-Net of which `channel(multiple=multiple)` has zeroed that fraction."""
    keras.utils.set_random_seed(0)
    model = UNet(CLASSES, filters)
    images = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8)
    masks = np.zeros((4, size, size), np.int32)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callbacks = [PruningScheduleCallback(sparsity, pattern=channel(multiple=multiple), verbose=0)] if sparsity else []
    model.fit(images, masks, batch_size=2, epochs=2, verbose=0, callbacks=callbacks)
    return model


def exported(model: Any, folder: Path, size: int, *, removes: bool) -> dict[str, Any]:
    """The report of an export; files are compared with the model, not timed."""
    images = np.random.default_rng(1).integers(0, 256, (8, size, size, 3), np.uint8)
    return export_model(
        model,
        folder,
        FORMATS,
        representative_dataset=lambda: ([image[np.newaxis]] for image in images),
        latency=False,
        verbose=0,
        remove_channels=removes,
    )


def timed(paths: dict[str, Path], size: int, rounds: int) -> dict[str, np.ndarray]:
    """Name of a file -> milliseconds of one inference in each round."""
    image = np.random.default_rng(2).integers(0, 256, (1, size, size, 3), np.uint8)
    return in_turns({name: litert(path, image) for name, path in paths.items()}, rounds)


def litert(path: Path, image: np.ndarray) -> Callable[[], None]:
    """What runs a file once, on one thread."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    return interpreter.invoke


def in_turns(runners: Mapping[Any, Callable[[], Any]], rounds: int) -> dict[Any, np.ndarray]:
    """Name -> milliseconds of one run in each round, each in a new order, behind a run whose caches are its own."""
    seconds: dict[Any, list[float]] = {name: [] for name in runners}
    names, order = list(runners), np.random.default_rng(0)
    for index in range(WARM_UP + rounds):
        for name in (names[number] for number in order.permutation(len(names))):
            runners[name]()
            start = time.perf_counter()
            runners[name]()
            if index >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * np.array(found) for name, found in seconds.items()}


def _text(values: np.ndarray, digits: int = 2) -> str:
    found = interval(values)
    return f"{found['median']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filters", type=int, default=32, help="of the U-Net at full resolution")
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.5, 0.7], help="fractions of channels")
    parser.add_argument("--multiples", type=int, nargs="+", default=[1], help="of channels that stay in a layer")
    parser.add_argument("--size", type=int, default=128, help="height and width of images")
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    paths, reports = {}, {}
    with tempfile.TemporaryDirectory() as name:
        for case in [(0.0, 1), *itertools.product(arguments.sparsities, arguments.multiples)]:
            model = pruned(arguments.filters, arguments.size, *case)
            for removes in (False, True) if case[0] else (False,):
                folder = Path(name) / f"{case}_{removes}"
                reports[case, removes] = exported(model, folder, arguments.size, removes=removes)
                for one in FORMATS:
                    paths[f"{case} {removes} {one}"] = folder / reports[case, removes]["formats"][one]["file"]
        times = timed(paths, arguments.size, arguments.rounds)
    print("| pruned | multiple | format | | bytes | gzip bytes | ms | time / kept | parameters | multiply-adds |")
    print("|---:|---:|---|---|---:|---:|---:|---:|---:|---:|")
    for ((sparsity, multiple), removes), report in reports.items():
        case, counts = (sparsity, multiple), report.get("channels", {})
        for one in FORMATS:
            entry, key = report["formats"][one], f"{case} {removes} {one}"
            ratio = _text(times[key] / times[f"{case} False {one}"], 3) if removes else ""
            numbers = [counts[name]["after"] if removes else "" for name in ("parameters", "multiply_adds")]
            what = "" if not sparsity else "removed" if removes else "kept"
            sizes = f"{entry['bytes']:,} | {entry['gzip_bytes']:,}"
            print(
                f"| {sparsity} | {multiple} | `{one}` | {what} | {sizes} | {_text(times[key])} | {ratio} | "
                f"{' | '.join(f'{number:,}' if number else '' for number in numbers)} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
