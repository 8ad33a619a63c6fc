"""Ranges of an interrupted fit, kept beside the checkpoint of its `BackupAndRestore`: `segopt_ranges.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_FILE = "segopt_ranges.json"
States = Mapping[str, list[float]]


def save(folder: str | os.PathLike[str], states: States) -> None:
    """Writes the states, all or none.

    Args:
        folder: of the backup.
        states: name of a tensor -> `(6,)`, see `ranges.Range.state`.
    """
    path = Path(folder) / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(states))
    os.replace(unfinished, path)


def load(folder: str | os.PathLike[str], names: Sequence[str]) -> States:
    """The states that were saved; none where there is no file.

    Args:
        folder: of the backup.
        names: of the model's tensors now. Keras numbers layers through a process; a model of another process has other
            names in the same order, and gets its states by these.
    """
    path = Path(folder) / _FILE
    if not path.exists():
        return {}
    return renamed(json.loads(path.read_text()), names)


def renamed(saved: States, names: Sequence[str]) -> States:
    """The states by the names that `load` says."""
    is_renamed = len(saved) == len(names) and set(saved) != set(names)
    return dict(zip(names, saved.values(), strict=True)) if is_renamed else saved


def drop(folder: str | os.PathLike[str]) -> None:
    """Removes the file, once the fit has ended."""
    (Path(folder) / _FILE).unlink(missing_ok=True)


def saves_at(backup: Any, step: int) -> bool:
    """Whether a backup is made behind this step; those of whole epochs are not asked."""
    frequency = getattr(backup, "save_freq", None)
    return isinstance(frequency, int) and step % frequency == 0
