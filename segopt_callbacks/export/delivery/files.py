"""Files that appear under their final names only when everything is complete."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from segopt_callbacks.export.delivery.locks import locked

_EXCHANGE = 2  # of Linux' renameat2
_AT_WORKING_DIRECTORY = -100
_EARLIER = ".earlier-export"  # ends the name of what has stepped aside
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

    Raises:
        FileExistsError: if somebody else's file or folder has the name of one of the new ones; nothing has moved then.
    """
    with locked(final.parent):
        if not final.exists():
            os.rename(new, final)
            return
        fresh = list(new.iterdir())
        for entry in fresh:
            _require_replaceable(final / entry.name, entry.is_dir(), [one.name for one in _content(entry)])
        if not (_may_be_exchanged(final, ours) and _exchange_all(new, final)):
            for entry in fresh:
                _replace(entry, final / entry.name)
        # All is in its place: what is left is old, and an error about it would only mislead.
        shutil.rmtree(new, ignore_errors=True)


def require_replaceable(final: Path, names: Iterable[str]) -> None:
    """Raises if files that an export would write have the names of folders of somebody else.

    Args:
        final: where it would publish; need not exist.
        names: of files (with a suffix) and folders (without) that it would write.

    Raises:
        FileExistsError: with the first of them.
    """
    for name in names:
        _require_replaceable(final / name, not Path(name).suffix)


def _require_replaceable(place: Path, is_folder: bool, content: Sequence[str] = ()) -> None:
    """A file replaces a file, and a folder one that is empty or has something that the new one has, too."""
    if not os.path.lexists(place) or place.is_symlink():  # a link goes, and what it leads to stays
        return
    there = [one.name for one in _content(place)]
    is_alike = place.is_dir() == is_folder and (not there or not content or not set(content).isdisjoint(there))
    if not is_alike:
        kind = "a folder" if place.is_dir() else "a file"
        raise FileExistsError(
            errno.EEXIST,
            f"an export must not replace what no export has written; move it away, or choose another `export_dir`. "
            f"Received: {kind} that is in the way",
            str(place),
        )


def _content(place: Path) -> list[Path]:
    return list(place.iterdir()) if place.is_dir() else []


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
        # Beside the final place, for what is found anywhere else may be somebody else's.
        aside = final.with_name(f".{final.name}{_EARLIER}")
        try:
            os.replace(final, aside)
            os.replace(new, final)
        finally:
            _settle(aside, final)


def restore_earlier(final: Path) -> None:
    """Puts back what had stepped aside when a process that published was killed.

    Args:
        final: where it published; need not exist.
    """
    with locked(final.parent):
        for aside in final.glob(f".*{_EARLIER}"):
            _settle(aside, final / aside.name.removesuffix(_EARLIER).removeprefix("."))


def _settle(aside: Path, place: Path) -> None:
    """What has stepped aside steps back, or goes if the new one has arrived."""
    if os.path.lexists(aside) and not os.path.lexists(place):
        os.replace(aside, place)
    else:
        shutil.rmtree(aside, ignore_errors=True)
