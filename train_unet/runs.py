"""The folder of a run: what it began with, how far it has come, and whether another run may write there.

Standard library only, so that a folder that is taken is told before TensorFlow is imported.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from flags import FlagError

RECORD, BACKUP = "run.json", "backup"
MADE = ("model.keras", "baseline.keras", "export", "logs", "search", BACKUP)  # by runs, beside the record


class Run:
    """A run in its folder.

    Args:
        folder: of the output.
        record: what `run.json` holds: the flags that decide what is trained, and facts of earlier starts.
        is_old: whether the run began in an earlier process.
        replaces: whether it takes the place of another.
        writes: whether this process is the one that writes, of all that train the model.
    """

    def __init__(
        self,
        folder: Path,
        record: dict[str, Any],
        *,
        is_old: bool = False,
        replaces: bool = False,
        writes: bool = True,
    ) -> None:
        self.folder = folder
        self.record = record
        self.is_old = is_old
        self.replaces = replaces
        self.writes = writes
        self._lock: int | None = None

    @property
    def backup(self) -> Path:
        """The folder of its backups."""
        return self.folder / BACKUP

    @property
    def has_ended(self) -> bool:
        """Whether everything was trained, exported and reported."""
        return bool(self.record.get("has_ended"))

    @property
    def is_trained(self) -> bool:
        """Whether what is left to do is for one process, behind those that have trained."""
        return bool(self.record.get("is_trained"))

    def begin(self) -> None:
        """Deletes the run that this one replaces; no other can begin here from now on.

        Raises:
            FlagError: if the folder cannot be made or written to, or another process is at work there.
        """
        if not self.writes:
            return
        make_folder(self.folder)
        self.backup.mkdir(exist_ok=True)
        self._lock = _lock(self.backup)
        self.begin_beside_others()

    def begin_beside_others(self) -> None:
        """Likewise for a search, whose study several processes may share.

        Raises:
            FlagError: if the folder cannot be made or written to.
        """
        make_folder(self.folder)
        if self.replaces:
            (self.folder / RECORD).unlink(missing_ok=True)  # first: what is left of a run without it is no run
            for name in MADE:
                if name != BACKUP:
                    _delete(self.folder / name)
            for path in self.backup.iterdir() if self.backup.exists() else ():
                _delete(path)
        self.note()

    def note(self, **facts: Any) -> None:
        """Adds facts to the record, which is replaced whole."""
        self.record |= facts
        if self.writes:
            partial = self.folder / f".{RECORD}.partial"
            partial.write_text(json.dumps(self.record, indent=1))
            os.replace(partial, self.folder / RECORD)

    def end(self) -> None:
        """Records that there is nothing to go on with, and deletes the backup."""
        self.note(has_ended=True)
        if self.writes:
            _delete(self.backup)

    def leave(self) -> None:
        """Lets other processes go on with the run."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_run(
    path: str, record: dict[str, Any], *, resume: bool = False, overwrite: bool = False, writes: bool = True
) -> Run:
    """The run that goes on in a folder, or a new one that may begin there. Nothing is made or deleted yet.

    Args:
        path: of the folder.
        record: of a new run.
        resume: go on with the run that is there; a new one where there is none.
        overwrite: a new run takes the place of the old one.
        writes: whether this process is the one that writes, of all that train the model.

    Raises:
        FlagError: if the folder holds a run and neither `resume` nor `overwrite` is given.
    """
    folder = Path(path)
    found = [name for name in (RECORD, *MADE) if (folder / name).exists()]
    if not found or overwrite or (not writes and not resume):  # who writes refuses for all, and may have begun
        return Run(folder, record, replaces=bool(found), writes=writes)
    shown = f"{path}, which holds {', '.join(found)}"
    if not resume:
        raise FlagError(
            "--output_dir must hold no earlier run; add --resume to go on with it or --overwrite to replace it, or "
            f"choose another. Received: {shown}."
        )
    if RECORD not in found:
        raise FlagError(
            f"--resume needs the {RECORD} that a run writes when it begins; add --overwrite instead to begin anew. "
            f"Received: {shown}."
        )
    return Run(folder, json.loads((folder / RECORD).read_text()), is_old=True, writes=writes)


def make_folder(path: Path) -> None:
    """Makes the folder if it is missing; refused before training rather than after it.

    Raises:
        FlagError: if it cannot be made, or be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlagError(
            f"--output_dir must be a folder that can be made ({error.strerror}). Received: {path}."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise FlagError(f"--output_dir must be a folder that you may write to; choose another. Received: {path}.")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _lock(folder: Path) -> int | None:
    """Holds the folder until the process ends, however that is; `None` on file systems without such locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise FlagError(
            "--output_dir must be that of one process at a time; wait for the other, or choose another. "
            f"Received: {folder.parent}."
        ) from error
    except OSError:  # some network file systems
        os.close(descriptor)
        return None
    return descriptor
