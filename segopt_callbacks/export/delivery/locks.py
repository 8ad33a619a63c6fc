"""Locks on folders: a process holds them as long as it lives, and no longer, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 30.0  # seconds that an export waits for others
_PAUSE = 0.02  # seconds between two looks at the lock
_given_up: set[Path] = set()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Waits until no other export holds the lock on an existing folder, and holds it; tells whether it does.

    Exports hold it for moments. Whoever may read a folder can lock it, and need not be an export: after `PATIENCE`
    seconds this one warns, and goes without, then and later. File systems without such locks (some network ones) go
    without as well: two exports at once must not share a folder there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder)):
        ...     is_held(Path(folder))
        True
    """
    descriptor = _hold_soon(folder)
    try:
        yield descriptor is not None
    finally:
        release(descriptor)


def _hold_soon(folder: Path) -> int | None:
    wait_until = time.monotonic() + (0.0 if folder in _given_up else PATIENCE)
    while True:
        try:
            return hold(folder)
        except BlockingIOError:
            if time.monotonic() >= wait_until:
                break
            time.sleep(_PAUSE)
    if folder not in _given_up:
        _given_up.add(folder)
        warnings.warn(
            f"An export must lock the folder beside `export_dir` for a moment; end the process that holds the lock "
            f"(`lsof {folder}`), or choose another `export_dir`. The export goes on without it, so let no other write "
            f"there meanwhile. Received: {str(folder)!r}, locked by another process for {PATIENCE:.0f} seconds.",
            stacklevel=2,
        )
    return None


def hold(folder: Path) -> int | None:
    """Takes the lock, for `release`; `None` where it cannot be taken.

    Raises:
        BlockingIOError: if somebody else holds it.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except PermissionError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def release(descriptor: int | None) -> None:
    """Gives back what `hold` returned."""
    if descriptor is not None:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether the folder's owner may be alive: true, too, where locks do not work or the folder is gone."""
    try:
        descriptor = hold(folder)
    except OSError:
        return True
    release(descriptor)
    return descriptor is None
