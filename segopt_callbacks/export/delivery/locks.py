"""Locks on folders: a process holds them as long as it lives, and no longer, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Waits until nobody else holds the lock on an existing folder, and holds it.

    File systems without such locks (some network ones) go without: two exports at once must not share a folder there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder)):
        ...     is_held(Path(folder))
        True
    """
    descriptor = hold(folder, wait=True)
    try:
        yield
    finally:
        release(descriptor)


def hold(folder: Path, *, wait: bool = False) -> int | None:
    """Takes the lock, for `release`; `None` where it cannot be taken.

    Raises:
        BlockingIOError: if somebody else holds it, and `wait` is not set.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except PermissionError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
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
