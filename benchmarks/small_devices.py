"""What a compressed U-Net takes on small devices: flash, memory and cycles by Vela and tflite-micro, and mIoU.

    python benchmarks/small_devices.py [--seed SEED] [--models DIR] [--table]

The U-Net of four levels (0.49M weights) of benchmarks/compression.py, on the embedded land cover, trained as there:
dense, with 80% zeros and 16 values, with 95% zeros and 8 values, with 95% zeros and kernels of 4 bits. Each
is exported as `tflm_int8` (tflite-micro), `tflm_lut` (its tables) and `ethos_u` (Vela, Ethos-U55 with 128 products a
cycle). mIoU is that of the files, run on the test split: in tflite-micro; that of `ethos_u` is of the int8 file before
Vela, run in LiteRT.
Results are appended to benchmarks/results.jsonl, and what stands there is not measured again. A training
takes some two minutes on two idle cores; `--models` keeps trained models in a folder, and takes them from there.
The table goes into docs/small_devices.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.aerial import LANDCOVER, SEEDS, Study, Training, parser_of, run_study, spread
from benchmarks.compression import BASE_FILTERS, BATCH_SIZE, SETS, Way, callbacks_of
from segopt_callbacks import export_model
from segopt_callbacks.compat import keras
from train_unet.folder import DataFolder
from train_unet.losses import mean_iou
from train_unet.unet import UNet

DENSE = "dense"
WAYS = {
    DENSE: Way(),
    "80% zeros, 16 values": Way(0.8, 16),
    "95% zeros, 8 values": Way(0.95, 8),
    "93% zeros, 4 bits": Way(0.93, bits=4, held=0.8),
    "95% zeros, 4 bits": Way(0.95, bits=4, held=0.8),
}
PLAIN, TABLES, NPU = FORMATS = ("tflm_int8", "tflm_lut", "ethos_u")
TOLERANCE = 0.005  # of mIoU, below the dense file
KIB = 1024


def measure(folder: DataFolder, one: tuple[str, int, Path | None]) -> None:
    """Trains one model, or takes it from where it was kept, and exports it."""
    way, seed, models = one
    setting = SETS["land cover"]
    training = Training(
        folder,
        seed,
        make=lambda classes: UNet(classes, BASE_FILTERS, levels=setting.levels),
        epochs=setting.epochs,
        batch=BATCH_SIZE,
    )
    path = models / f"{way.replace('% zeros, ', '_').replace(' ', '_')}_{seed}.keras" if models else None
    if path is not None and path.exists():
        model = keras.models.load_model(path, compile=False)
    else:
        training.run(*callbacks_of(training, WAYS[way], setting))
        model = training.model
        if path is not None:
            model.save(path)
    STUDY.add((way, seed), weigh(model, training))


def weigh(model: Any, training: Training) -> dict[str, Any]:
    """mIoU, bytes and Vela's figures of the files of one model."""
    classes = len(training.folder.classes)
    with tempfile.TemporaryDirectory() as directory:
        report = export_model(
            model,
            Path(directory),
            FORMATS,
            representative_dataset=training.calibration(),
            evaluation_data=training.data["test"],
            metrics={"mIoU": mean_iou(classes, ignore_class=classes)},
            on_failure="warn",  # a dense model takes no tables
            latency=False,
            verbose=0,
        )
    result: dict[str, Any] = {"miou": round(report["model"]["metrics"]["mIoU"], 4)}
    for name, entry in report["formats"].items():
        if entry["status"] != "ok":
            result[f"{name}_error"] = entry["error"]
            continue
        notes = entry["notes"]
        result |= {f"{name}_miou": round(entry["metrics"]["mIoU"], 4), f"{name}_bytes": entry["bytes"]}
        kept = ("arena_bytes", "flash_bytes", "sram_bytes", "cycles", "npu_share", "off the NPU")
        result |= {f"{name}_{key.replace(' ', '_')}": notes[key] for key in kept if key in notes}
    return result


def table(results: Mapping[tuple, dict[str, Any]]) -> str:
    """A row for each way of compressing."""
    lines = [
        "| weights | mIoU, `tflm_int8` | `tflm_int8`, bytes | `tflm_lut`, bytes | `ethos_u`, bytes "
        "| Vela's flash, bytes | times smaller | cycles |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    means = {way: _means([one for (name, _), one in results.items() if name == way]) for way in WAYS}
    for way, one in means.items():
        if not one:
            continue
        times = means[DENSE][f"{NPU}_flash_bytes"] / one[f"{NPU}_flash_bytes"]
        is_as_good = one[f"{PLAIN}_miou"] >= means[DENSE][f"{PLAIN}_miou"] - TOLERANCE
        told = f"**{times:.1f}**" if is_as_good else f"{times:.1f}"
        mious = spread(row[f"{PLAIN}_miou"] for (name, _), row in results.items() if name == way)
        keys = (f"{PLAIN}_bytes", f"{TABLES}_bytes", f"{NPU}_bytes", f"{NPU}_flash_bytes")
        cells = [f"{one[key]:,.0f}" if key in one else "" for key in keys]
        lines.append(f"| {way} | {mious} | {' | '.join(cells)} | {told} | {one[f'{NPU}_cycles']:,.0f} |")
    return "\n".join(lines)


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Of every figure that all rows have."""
    keys = [key for key in (rows[0] if rows else {}) if all(isinstance(row.get(key), int | float) for row in rows)]
    return {key: float(np.mean([row[key] for row in rows])) for key in keys}


STUDY = Study("small_devices", "small_devices.md", "results.md", keys=("weights", "seed"), table=table)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--seed", type=int, choices=SEEDS, help="one of the seeds")
    parser.add_argument("--models", type=Path, help="folder of trained models, to keep them in or take them from")
    arguments = parser.parse_args()
    seeds = SEEDS if arguments.seed is None else [arguments.seed]
    if arguments.models is not None:
        arguments.models.mkdir(parents=True, exist_ok=True)
    results = STUDY.results()
    missing = [(way, seed, arguments.models) for seed in seeds for way in WAYS if (way, seed) not in results]
    return run_study(STUDY, missing, measure, arguments, lambda one: LANDCOVER)


if __name__ == "__main__":
    sys.exit(main())
