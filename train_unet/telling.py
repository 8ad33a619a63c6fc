"""What a run has come to, told at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segopt_callbacks.export import add_baseline, headline, table
from train_unet.color_lookup import score
from train_unet.folder import DataFolder


def tell(record: Mapping[str, Any], export_dir: Path, report: Mapping[str, Any] | None, folder: DataFolder) -> None:
    """Prints the mIoU of the model in memory and of the dense one, the table of files that has it, and the headline.

    Args:
        record: of the run: `in_memory`, mIoU of the model, and `baseline`, that of the dense one, if it was trained.
        export_dir: of the files, whose report gets the dense model's figure.
        report: of the export; `None` if nothing was exported.
        folder: of the data.
    """
    dense = record.get("baseline")
    print(f"Test mIoU in memory: {record['in_memory']:.4f}")
    if dense is not None:
        print(f"Test mIoU of the dense float32 baseline: {dense:.4f}")
        if report:
            print(table(add_baseline(export_dir, "dense float32", {"mIoU": dense})))
    if report:
        beside = {} if dense is None else {"dense float model": dense}
        if line := headline(report, {**beside, "colour lookup": score(folder)}):
            print(line)
