"""Trains a subclassed U-Net; prunes, clusters, exports and verifies it.

    python train.py --prune --cluster

`--help` lists the flags. Only this file and `parts` read their values.
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the checkout: what is installed is the library alone

import flags
from segopt_callbacks.commands import ends_with_its_reader
from train_unet.command import USAGE_ERROR, run_alone, run_command
from train_unet.machines import choose_keras, is_chief, require_divisible
from train_unet.parts import (
    build_model,
    export_formats,
    make_compression,
    make_export,
    make_model,
    make_sensitivity,
    open_data,
)
from train_unet.process import ExitOnInterrupt
from train_unet.runs import Run, open_run


@ends_with_its_reader
def main(argv: list[str] | None = None) -> int:
    """Runs one training.

    Args:
        argv: program and flags; default: those of the process.

    Returns:
        exit code: 0, or 1 if a file could not be exported or a search found no model, 2 if the data or a flag is wrong.

    Raises:
        SystemExit: 0 after `--help`, 2 for a wrong flag. Ctrl-C ends the process with exit code 130, SIGTERM with 143.
    """
    argv = sys.argv if argv is None else argv
    values = flags.parse(argv)
    goes_on = values.resume or values.search  # a search goes on by itself
    try:
        writes = is_chief(values.strategy)
        run = open_run(
            values.output_dir, flags.record(values), resume=goes_on, overwrite=values.overwrite, writes=writes
        )
        if run.is_old:
            flags.take_over(values, run.record)
        run.record["keras"] = choose_keras(values.strategy, run.record.get("keras"))
    except flags.FlagError as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    if run.has_ended:
        print(f"That run has ended: its files are in {run.folder}.")
        return 0
    if run.is_trained:
        return run_command(functools.partial(export, values, run)) if writes else 0
    try:
        code = run_command(functools.partial(search if values.search else train, values, run), values.strategy, argv)
    finally:
        run.leave()
    return run_alone(argv) if run.is_trained and writes else code


def train(values: Any, run: Run, interrupt: ExitOnInterrupt, strategy: Any) -> bool:
    """Trains and compresses as the flags say; exports and reports too, unless that is for a process of its own."""
    from train_unet.baselines import known_baselines
    from train_unet.evaluating import whole_images_miou
    from train_unet.fitting import evaluate, fit
    from train_unet.waiting import InputWait

    require_divisible(values.batch_size, strategy)
    folder, data = open_data(values)
    steps = len(data["train"]) * values.epochs
    log_dir = Path(values.log_dir or run.record.get("log_dir") or run.folder / "logs" / time.strftime("%Y%m%d-%H%M%S"))
    counts = ", ".join(f"{len(pairs)} {split}" for split, pairs in folder.pairs.items())
    print(f"{folder.root}: {counts} images, {len(folder.classes)} classes. TensorBoard: {log_dir}")
    with strategy.scope():
        model = make_model(values, folder, steps=steps)
    compression = make_compression(values, steps=steps)
    callbacks = [*compression, *make_other_callbacks(values, run, folder, data, log_dir, compressed=bool(compression))]
    formats = export_formats(values) if values.strategy != "multi_worker" else ()
    exports = [make_export(values, formats, folder, data["test"], run.folder / "export")] if formats else []
    run.begin()
    run.note(log_dir=str(log_dir))
    fits_before = int("baseline" in run.record)
    if values.baseline and not fits_before:
        run.note(baseline=train_baseline(values, run, folder, data, interrupt, strategy))
    for callback in exports:
        callback.baselines = known_baselines(values, run.record, folder)
    backup = make_backup(values, run, "model", interrupt, kept=compression, fits_before=fits_before)
    wait = InputWait() if values.strategy == "none" else None  # its clock is of this process
    fit(model, data, values.epochs, [*callbacks, *exports], backup, wait)
    run.note(in_memory=evaluate(model, data["test"]))
    if not exports:  # else it is in the table
        print(f"Test mIoU in memory: {run.record['in_memory']:.4f}")
    if values.strategy == "multi_worker":
        run.note(is_trained=True, ranges=next((one.ranges for one in compression if hasattr(one, "ranges")), {}))
        return True
    if folder.is_tiled:
        print(f"Test mIoU of whole images, tiles blended: {whole_images_miou(model, folder, 'test'):.4f}")
    run.end()
    return True


def make_other_callbacks(
    values: Any, run: Run, folder: Any, data: dict[str, Any], log_dir: Path, *, compressed: bool
) -> list[Any]:
    """What logs, saves and measures a training."""
    from train_unet.fitting import SaveOnTrainEnd
    from train_unet.training import log_callbacks

    return [
        *log_callbacks(log_dir, data["val"], folder.palette, compressed=compressed),
        SaveOnTrainEnd(run.folder / "model.keras", writes=run.writes),
        *([make_sensitivity(values, data["val"], log_dir)] if values.sensitivity else []),
    ]


def export(values: Any, run: Run, interrupt: ExitOnInterrupt, strategy: Any) -> bool:
    """Exports and reports what several processes have trained."""
    from train_unet.baselines import known_baselines
    from train_unet.fitting import export_saved

    folder, data = open_data(values)
    if formats := export_formats(values):
        callback = make_export(values, formats, folder, data["test"], run.folder / "export")
        callback.baselines = known_baselines(values, run.record, folder)
        export_saved(callback, run.folder / "model.keras", run.record["ranges"])
    run.end()
    return True


def make_backup(values: Any, run: Run, name: str, interrupt: ExitOnInterrupt, **options: Any) -> Any:
    """The callback that backs up one fit of the run, and goes on from there."""
    from train_unet.backup import Backup

    path = run.backup / f"{name}.npz"
    asked = {"interrupted": interrupt.interrupted, "leave": interrupt.check}
    more = {"goes_on": run.is_old, "writes": run.writes, **asked, **options}
    return Backup(path, minutes=values.backup_minutes, **more)


def search(values: Any, run: Run, interrupt: ExitOnInterrupt, strategy: Any) -> bool:
    """Searches as the flags say, and prints the answer; returns whether a model was found."""
    from train_unet.searching import search_unet

    folder, data = open_data(values)
    run.begin_beside_others()
    output_dir = run.folder / "search"
    steps = len(data["train"]) * values.epochs
    print(f"{folder.root}: {values.trials} trainings of {values.epochs} epochs. Trials and their reports: {output_dir}")
    return search_unet(
        functools.partial(build_model, values, folder, steps=steps),
        data,
        folder.classes,
        interrupt.check,
        epochs=values.epochs,
        output_dir=output_dir,
        seed=values.seed,
        trials=values.trials,
        storage=values.storage,
        **{name: getattr(values, name) for name in flags.BOUNDS},
    )


def train_baseline(
    values: Any, run: Run, folder: Any, data: dict[str, Any], interrupt: ExitOnInterrupt, strategy: Any
) -> float:
    """The test mIoU of a plain float model, trained equally long from the same weights."""
    from train_unet.fitting import SaveOnTrainEnd, evaluate, fit

    print("Baseline: the same model and training without compression.")
    with strategy.scope():
        model = make_model(values, folder, steps=len(data["train"]) * values.epochs)
    backup = make_backup(values, run, "baseline", interrupt)
    fit(model, data, values.epochs, [SaveOnTrainEnd(run.folder / "baseline.keras", writes=run.writes)], backup)
    miou = evaluate(model, data["test"])
    print(f"Test mIoU of the dense float32 baseline: {miou:.4f}")
    return miou


if __name__ == "__main__":
    sys.exit(main())
