"""Bytes of files and folders, plain and compressed."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_CHUNK = 1 << 20  # bytes read at a time, so that memory stays bounded


def walk(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Everything below a folder, however deep: files, folders, links. Links to folders are not followed.

    Folders that may not be read are left out, as `Path.rglob` does, which recurses and so fails at great depth.
    """
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = list(entries)
        except PermissionError:
            continue
        for entry in found:
            yield Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """The regular files that `path` stands for: itself, or everything below a folder, sorted.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
    """
    path = Path(path)
    if path.is_dir():
        return sorted(file for file in walk(path) if file.is_file())
    path.stat()  # raises, with the name, where nothing is
    return [path]


def file_bytes(path: str | os.PathLike[str]) -> int:
    """Bytes of a file, or of all files below a folder, as `os.stat` counts them.

    Args:
        path: a file or a folder.

    Returns:
        the size in bytes; folders themselves weigh nothing.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
    """
    return sum(file.stat().st_size for file in files_of(path))


def gzip_bytes(path: str | os.PathLike[str]) -> int:
    """Bytes that `gzip -9 -n -c FILE` prints; for a folder, the sum over its files.

    The `gzip` program itself counts where there is one. Its deflate is not zlib's: on pruned float32 weights the two
    differ by up to 1%. Without the program zlib counts, with the settings nearest to gzip's (most often equal).

    Args:
        path: a file or a folder.

    Returns:
        the compressed size in bytes, headers included.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
    """
    program = shutil.which("gzip")
    total = 0
    for file in files_of(path):
        with file.open("rb") as stream:
            total += _zlib_count(stream) if program is None else _gzip_count(program, stream)
    return total


def _gzip_count(program: str, stream: IO[bytes]) -> int:
    # Through stdin, so that no name is refused (`x.gz`, a link). $GZIP would add options of the user's own.
    environment = {name: value for name, value in os.environ.items() if name != "GZIP"}
    command = [program, "-9", "-n", "-c"]
    with subprocess.Popen(command, stdin=stream, stdout=subprocess.PIPE, env=environment) as process:
        output: IO[bytes] = process.stdout  # type: ignore[assignment]
        count = sum(len(chunk) for chunk in iter(lambda: output.read(_CHUNK), b""))
    if process.returncode:
        raise OSError(f"`gzip -9` must compress {stream.name}. Received: exit code {process.returncode}.")
    return count


def _zlib_count(stream: IO[bytes]) -> int:
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31, 9)  # 31: a gzip header; memory level 9: gzip's block length
    count = sum(len(compressor.compress(chunk)) for chunk in iter(lambda: stream.read(_CHUNK), b""))
    return count + len(compressor.flush())
