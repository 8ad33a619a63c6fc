"""What Vela tells of a file that it has compiled: memory, cycles, what runs on the NPU."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segopt_callbacks.errors import FormatError

_COUNTS = re.compile(r"(CPU|NPU) operators = (\d+)")
_MEMORIES = {  # what the report calls them -> Vela's columns, in KiB
    "flash_bytes": ("on_chip_flash_memory_used", "off_chip_flash_memory_used"),
    "sram_bytes": ("sram_memory_used",),
    "dram_bytes": ("dram_memory_used",),
}


def read_figures(folder: Path, told: Sequence[str]) -> dict[str, Any]:
    """Vela's own figures, which are estimates of its model of the NPU.

    Args:
        folder: in which Vela has written its summary.
        told: the lines that it has printed.

    Returns:
        `flash_bytes` (weights and commands of the NPU), `sram_bytes`, `dram_bytes`, `cycles` of an inference,
        `npu_share` (of Vela's operations, in [0, 1]), and `system`: the system that Vela assumes.

    Raises:
        FormatError: if a figure is not where it was in Vela 5.
    """
    try:
        (summary,) = folder.glob("*_summary_*.csv")
        with summary.open(encoding="utf-8", newline="") as stream:
            (row,) = csv.DictReader(stream, skipinitialspace=True)
        memories = {name: round(1024 * sum(float(row[one]) for one in keys)) for name, keys in _MEMORIES.items()}
        counts = {match[1]: int(match[2]) for match in map(_COUNTS.search, told) if match}
        return {
            **memories,
            "cycles": round(float(row["cycles_total"])),
            "npu_share": round(counts["NPU"] / (counts["NPU"] + counts["CPU"]), 4),
            "system": f"{row['system_config']}, {row['memory_mode']}",
        }
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise FormatError(
            f"Vela's figures are not where they are known to be: {type(error).__name__} {error}"
        ) from error
