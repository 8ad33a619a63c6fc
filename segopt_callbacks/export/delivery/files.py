"""Files that appear under their final names only when everything is complete."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Container
from pathlib import Path

from segopt_callbacks.export.delivery.locks import locked

_EXCHANGE = 2  # of Linux' renameat2
_AT_WORKING_DIRECTORY = -100
_EARLIER = ".earlier"  # ends the name of what has stepped aside
# The file system or the kernel cannot exchange, or the folder is a mount point.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.EBUSY, errno.EXDEV, errno.EPERM, errno.ENOTSUP)


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
    with locked(final.parent):
        if not final.exists():
            os.rename(new, final)
            return
        fresh = list(new.iterdir())
        if not (_may_be_exchanged(final, ours) and _exchange_all(new, final)):
            for entry in fresh:
                _replace(entry, final / entry.name)
        # All is in its place: what is left is old, and an error about it would only mislead.
        shutil.rmtree(new, ignore_errors=True)


def _may_be_exchanged(final: Path, ours: Container[str]) -> bool:
    if final.is_symlink() or final.resolve() in (Path.cwd().resolve(), *Path.cwd().resolve().parents):
        return False
    return sys.platform == "linux" and all(entry.name in ours for entry in final.iterdir())


def _exchange_all(new: Path, final: Path) -> bool:
    names = {entry.name for entry in new.iterdir()}
    try:
        for entry in final.iterdir():
            if entry.name not in names:
                _link(entry, new / entry.name)
    except OSError:  # not every file system has hard links
        return False
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
    is_folder = new.is_dir() or (final.is_dir() and not final.is_symlink())
    if not is_folder or not os.path.lexists(final):
        os.replace(new, final)
    elif not _exchange(new, final):
        # No rename replaces a folder that is not empty: step aside, and step back if the new one does not arrive.
        aside = new.with_name(new.name + _EARLIER)
        try:
            os.replace(final, aside)
            os.replace(new, final)
        finally:
            if os.path.lexists(aside) and not os.path.lexists(final):
                os.replace(aside, final)


def restore_earlier(unfinished: Path, final: Path) -> None:
    """Puts back what had stepped aside when the process that published was killed.

    Args:
        unfinished: the folder in which that process worked.
        final: where it published.
    """
    for aside in unfinished.glob(f"*/*{_EARLIER}"):
        place = final / aside.name.removesuffix(_EARLIER)
        if final.is_dir() and not os.path.lexists(place):
            os.replace(aside, place)
