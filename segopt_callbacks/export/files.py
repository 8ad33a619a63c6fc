"""Files that appear under their final names only when everything is complete."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Container, Iterator
from pathlib import Path

_EXCHANGE = 2  # of Linux' renameat2
_AT_WORKING_DIRECTORY = -100
# The file system or the kernel cannot exchange, or the folder is a mount point.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.EBUSY, errno.EXDEV, errno.EPERM, errno.ENOTSUP)


@contextlib.contextmanager
def workspace(export_dir: Path) -> Iterator[Path]:
    """A folder for unfinished work beside the finished one; it is gone afterwards, whatever happened.

    Args:
        export_dir: where finished work will move in one step; need not exist.

    Example:
        >>> with workspace(Path(tempfile.mkdtemp()) / "export") as folder:
        ...     folder.is_dir(), folder.name.startswith(".export.unfinished-")
        (True, True)
        >>> folder.exists()
        False
    """
    parent = export_dir.parent
    parent.mkdir(parents=True, exist_ok=True)
    if export_dir.is_dir() and not os.access(parent, os.W_OK | os.X_OK):
        parent = export_dir
    with tempfile.TemporaryDirectory(prefix=f".{export_dir.name}.unfinished-", dir=parent) as folder:
        yield Path(folder)


def publish(new: Path, final: Path, ours: Container[str]) -> None:
    """Moves everything in a complete folder to its final place, in place of earlier files of the same names.

    Where the final folder holds files of earlier exports alone, the two folders change places in one step (on Linux):
    whatever is killed or fails meanwhile, what stands there is all old or all new. Beside files of somebody else, in
    the working directory and on other systems each file moves in a step of its own. Two who publish into one folder
    wait for each other.

    Args:
        new: on the same file system as `final`; gone afterwards.
        final: need not exist.
        ours: names that exports write.
    """
    with _locked(final.parent):
        if not final.exists():
            os.rename(new, final)
            return
        fresh = list(new.iterdir())
        if not (_may_be_exchanged(final, ours) and _exchange_all(new, final)):
            for entry in fresh:
                _replace(entry, final / entry.name)
        shutil.rmtree(new)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _may_be_exchanged(final: Path, ours: Container[str]) -> bool:
    if final.is_symlink() or final.resolve() in (Path.cwd().resolve(), *Path.cwd().resolve().parents):
        return False
    return sys.platform == "linux" and all(entry.name in ours for entry in final.iterdir())


def _exchange_all(new: Path, final: Path) -> bool:
    names = {entry.name for entry in new.iterdir()}
    for entry in final.iterdir():
        if entry.name not in names:
            _link(entry, new / entry.name)
    return _exchange(new, final)


def _exchange(one: Path, other: Path) -> bool:
    paths = os.fsencode(one), os.fsencode(other)
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_WORKING_DIRECTORY, paths[0], _AT_WORKING_DIRECTORY, paths[1], _EXCHANGE) == 0:
        return True
    if (code := ctypes.get_errno()) in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def _link(kept: Path, place: Path) -> None:
    if kept.is_dir() and not kept.is_symlink():
        shutil.copytree(kept, place, symlinks=True, copy_function=os.link)
    else:
        os.link(kept, place, follow_symlinks=False)


def _replace(new: Path, final: Path) -> None:
    if not final.is_dir() or final.is_symlink():
        os.replace(new, final)
        return
    # No rename replaces a folder that is not empty: step aside, and step back if the new one does not arrive.
    aside = new.with_name(f"{new.name}.earlier")
    try:
        os.replace(final, aside)
        os.replace(new, final)
    finally:
        if aside.exists() and not final.exists():
            os.replace(aside, final)
    shutil.rmtree(aside)
