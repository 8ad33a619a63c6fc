"""Where an export works: a folder beside the finished one, gone when the work is, even if its process was killed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from segopt_callbacks.errors import add_to, remedy
from segopt_callbacks.export.delivery.files import restore_earlier
from segopt_callbacks.export.delivery.locks import hold, is_held, locked, release


@contextlib.contextmanager
def workspace(export_dir: Path) -> Iterator[Path]:
    """A folder for unfinished work, from which it can move into `export_dir`; gone afterwards, whatever happened.

    It is locked while its process lives. Those of exports that were killed are removed first.

    Args:
        export_dir: where finished work will move in one step; need not exist.

    Raises:
        OSError: if `export_dir` cannot be made or written.

    Example:
        >>> with workspace(Path(tempfile.mkdtemp()) / "export") as folder:
        ...     folder.is_dir(), folder.name.startswith(".export.unfinished-")
        (True, True)
        >>> folder.exists()
        False
    """
    folder, lock = _begin(export_dir)
    try:
        yield folder
    finally:
        # What cannot be removed now is removed by the next export; no error of ours may hide that of the work.
        shutil.rmtree(folder, ignore_errors=True)
        release(lock)


def warn_if_shared(folder: Path, export_dir: Path) -> bool:
    """Warns if another export is at work for the same folder; returns whether one is.

    Args:
        folder: of this export's own work, as `workspace` yields it.
        export_dir: where it will move.
    """
    ours = _of_exports_to(export_dir)
    for place in {export_dir.parent, export_dir}:
        if not place.is_dir():
            continue
        with locked(place):  # nobody may find a folder held for a moment that he is about to hold
            others = [one for one in place.iterdir() if one != folder and ours.fullmatch(one.name) and is_held(one)]
        if others:
            warnings.warn(
                "Exports at the same time must have a folder each: name another `export_dir`. Files of both will "
                "lie here, and the reports of the one that ends last. Received: "
                f"{str(export_dir)!r}, for which {others[0].name} is at work.",
                stacklevel=2,
            )
            return True
    return False


def require_writable(export_dir: Path) -> Path:
    """Tries whether an export could write `export_dir`, and leaves nothing but its parent folders.

    Returns:
        the folder in which an export would work: that of the disk whose room counts.

    Raises:
        OSError: if it cannot be made or written.

    Example:
        >>> parent = Path(tempfile.mkdtemp())
        >>> require_writable(parent / "export") == parent, list(parent.iterdir())
        (True, [])
    """
    with workspace(export_dir) as folder:
        return folder.parent


@contextlib.contextmanager
def disk_errors_explained() -> Iterator[None]:
    """Lets errors of the disk say what happens on it, and what helps."""
    try:
        yield
    except FileExistsError:  # somebody's file is in the way, which says so itself
        raise
    except OSError as error:
        add_to(error, f"an export is written beside `export_dir` before it moves there: {remedy(error)}")
        raise


def _begin(export_dir: Path) -> tuple[Path, int | None]:
    try:
        return _make(export_dir.parent, export_dir)
    except OSError as error:
        refusal = error
    try:
        # It may be a disk of its own, or the only folder here that we may write.
        if export_dir.is_dir():
            return _make(export_dir, export_dir)
    except OSError as error:
        refusal = error
    received = f"{str(export_dir)!r}, {os.strerror(refusal.errno or 0).lower()}"
    raise OSError(
        refusal.errno,
        f"`export_dir` must be a folder that can be made and written; {remedy(refusal)}. Received: {received}",
    ) from refusal


def _make(place: Path, export_dir: Path) -> tuple[Path, int | None]:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
    _require_movable(place, export_dir)
    restore_earlier(export_dir)
    for one in {place, export_dir}:
        _sweep(one, export_dir)
    with locked(place):  # nobody may take it for one of a dead process before it is locked
        folder = Path(tempfile.mkdtemp(prefix=_prefix(export_dir), dir=place))
        return folder, hold(folder)


def _require_movable(place: Path, export_dir: Path) -> None:
    """Raises unless what is in `place` can be moved to `export_dir` or, where that exists, into it."""
    if not export_dir.exists():
        return
    if not export_dir.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if place != export_dir and not os.access(export_dir, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    missing = f"{_prefix(export_dir)}missing"
    try:
        # A move between two mounts fails before anybody looks whether there is something to move.
        os.rename(place / missing, export_dir / missing)
    except FileNotFoundError:
        return


def _sweep(place: Path, export_dir: Path) -> None:
    """Removes what killed exports of this user left; nothing of it is used."""
    if not place.is_dir():
        return
    ours = _of_exports_to(export_dir)
    with locked(place) as is_safe:
        if not is_safe:  # who has made a folder, and stands still before he holds it, has that of `place`
            return
        for entry in place.iterdir():
            # In a folder that several users share, anybody can make one of such a name.
            if ours.fullmatch(entry.name) and entry.is_dir() and _is_mine(entry) and not is_held(entry):
                shutil.rmtree(entry, ignore_errors=True)


def _is_mine(folder: Path) -> bool:
    try:
        return folder.lstat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def _of_exports_to(export_dir: Path) -> re.Pattern[str]:
    return re.compile(re.escape(_prefix(export_dir)) + r"\w{8}")  # as `tempfile` names folders


def _prefix(export_dir: Path) -> str:
    return f".{export_dir.name}.unfinished-"
