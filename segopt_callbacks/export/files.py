"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".unfinished-"


@contextlib.contextmanager
def workspace(export_dir: Path) -> Iterator[Path]:
    """A folder for unfinished work beside the finished one; it is gone afterwards, whatever happened.

    Args:
        export_dir: made if it does not exist; the workspace is inside, so that finished work moves in one step.

    Example:
        >>> with workspace(Path(tempfile.mkdtemp())) as folder:
        ...     folder.is_dir()
        True
        >>> folder.exists()
        False
    """
    export_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=export_dir) as folder:
        yield Path(folder)


def deliver(unfinished: Path, final: Path) -> None:
    """Moves a complete file or folder to its final name, in place of an earlier one.

    Args:
        unfinished: in a `workspace` beside `final`.
        final: the name that users read.
    """
    if not final.is_dir() or final.is_symlink():
        os.replace(unfinished, final)
        return
    # No rename replaces a folder that is not empty: step aside, and step back if the new one does not arrive.
    aside = unfinished.with_name(f"{unfinished.name}.earlier")
    try:
        os.replace(final, aside)
        os.replace(unfinished, final)
    finally:
        if aside.exists() and not final.exists():
            os.replace(aside, final)
    shutil.rmtree(aside)
