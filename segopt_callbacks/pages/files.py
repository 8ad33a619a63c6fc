"""Files that are complete, or not there."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes a text file such that nobody ever sees a part of it.

    Args:
        path: in an existing folder; an earlier file is replaced.
        text: its content.
    """
    # A name of its own: several processes, on several machines, may write the same file.
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
