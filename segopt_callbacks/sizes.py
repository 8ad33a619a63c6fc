"""The size ledger of model files, and its command `segopt-sizes`.

A file's bytes are its weights', its optimizer state's, and the rest: the graph, and what the format needs around it.
A SavedModel is a folder; its `saved_model.pb` alone is the graph without the weights, which makes it look small.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

from segopt_callbacks.size_protobuf import read_checkpoint, read_onnx, read_saved_model_pb
from segopt_callbacks.size_readers import CorruptFileError, StoredTensor, read_hdf5, read_keras, read_tflite
from segopt_callbacks.size_text import Ledger, compare, table, why

_CHUNK = 1 << 20  # bytes read at a time, so that memory stays bounded


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """The regular files that `path` stands for: itself, or everything below a folder, sorted.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
    """
    path = Path(path)
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
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


# --- the ledger ------------------------------------------------------------------------------------------------------

# By the end of a file's name.
FORMATS = {".keras": "keras", ".h5": "h5", ".hdf5": "h5", ".tflite": "tflite", ".onnx": "onnx", ".pb": "graph"}
_READERS = {"keras": read_keras, "h5": read_hdf5, "tflite": read_tflite}


def find_models(path: str | os.PathLike[str]) -> list[Path]:
    """The models at `path`: itself, or all that lie below a folder that is no SavedModel.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        CorruptFileError: if there is no model.
    """
    path = Path(path)
    path.stat()
    if path.is_file():
        if path.suffix.lower() not in FORMATS:
            raise CorruptFileError(f"its name must end in one of {', '.join(FORMATS)}")
        return [path]
    graphs = (
        [path] if (path / "saved_model.pb").exists() else sorted(one.parent for one in path.rglob("saved_model.pb"))
    )
    inside = {file for graph in graphs for file in graph.rglob("*")}
    files = (file for file in path.rglob("*") if file.suffix.lower() in FORMATS and file.is_file())
    models = sorted({*graphs, *(file for file in files if file not in inside)})
    if not models:
        raise CorruptFileError(f"it holds no model: neither a saved_model.pb nor a file in {', '.join(FORMATS)}")
    return models


def read_ledger(path: str | os.PathLike[str]) -> Ledger:
    """Weighs one model.

    Args:
        path: a file, or the folder of a SavedModel.

    Raises:
        CorruptFileError: if the file is not what its name says, or damaged.
        OSError: if it cannot be read.
    """
    path = Path(path)
    files, variables = [path], 0
    if path.is_dir():
        return _read_saved_model(path)
    kind = FORMATS[path.suffix.lower()]
    if kind == "graph":
        tensors, variables = read_saved_model_pb(path)
    elif kind == "onnx":
        tensors, beside = read_onnx(path)
        files += beside
    else:
        tensors = _READERS[kind](path)
    return _ledger(path, kind, files, tensors, absent_variables=variables)


def _read_saved_model(path: Path) -> Ledger:
    constants, variables = read_saved_model_pb(path / "saved_model.pb")
    stored: list[StoredTensor] = []
    if (path / "variables" / "variables.index").exists():
        stored, variables = read_checkpoint(path / "variables" / "variables"), 0
    constant_bytes = sum(one.size_bytes for one in constants if one.dtype != "string")
    return _ledger(
        path, "saved_model", [path], constants + stored, absent_variables=variables, constant_bytes=constant_bytes
    )


def _ledger(
    path: Path,
    kind: str,
    files: list[Path],
    tensors: list[StoredTensor],
    *,
    absent_variables: int,
    constant_bytes: int = 0,
) -> Ledger:
    tensors = [tensor for tensor in tensors if tensor.dtype != "string"]  # names for the saver: part of the graph
    weights = [tensor for tensor in tensors if not tensor.is_optimizer]
    whole_bytes = sum(map(file_bytes, files))
    weight_bytes = sum(tensor.size_bytes for tensor in weights)
    optimizer_bytes = sum(tensor.size_bytes for tensor in tensors) - weight_bytes
    if weight_bytes + optimizer_bytes > whole_bytes:
        raise CorruptFileError(f"its tensors claim {weight_bytes + optimizer_bytes:,} bytes, it has {whole_bytes:,}")
    copies = Counter((tensor.content, tensor.size_bytes) for tensor in weights if tensor.content is not None)
    dtypes: Counter[str] = Counter()
    for tensor in weights:
        dtypes[tensor.dtype] += tensor.size_bytes
    return Ledger(
        path=str(path),
        format=kind,
        graph_bytes=whole_bytes - weight_bytes - optimizer_bytes,
        weight_bytes=weight_bytes,
        optimizer_bytes=optimizer_bytes,
        whole_bytes=whole_bytes,
        gzip_bytes=sum(map(gzip_bytes, files)),
        duplicate_bytes=sum(size * (count - 1) for (_, size), count in copies.items()),
        dtype=dtypes.most_common(1)[0][0] if weight_bytes else "",
        absent_variables=absent_variables,
        constant_bytes=constant_bytes,
    )


# --- the command -----------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the ledger of every model that the command line names.

    Args:
        argv: arguments, by default the process's own.

    Returns:
        the exit code: 0, or 2 if something could not be read.
    """
    parser = argparse.ArgumentParser(
        prog="segopt-sizes",
        description="Weighs models in bytes: graph, weights, optimizer state, whole, gzip -9; says why they differ.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help=f"a SavedModel, {', '.join(FORMATS)}, or a folder")
    parser.add_argument("--json", action="store_true", help="print JSON, sizes in bytes")
    arguments = parser.parse_args(argv)
    found: dict[Path, Ledger] = {}  # a model that is named twice is weighed once
    failed = False
    for path in arguments.paths:
        try:
            models = find_models(path)
        except (CorruptFileError, OSError) as error:
            failed = _complain(path, error)
            continue
        for model in models:
            try:
                if model.resolve() not in found:
                    found[model.resolve()] = read_ledger(model)
            except (CorruptFileError, OSError) as error:
                failed = _complain(model, error)
    ledgers = list(found.values())
    if arguments.json:
        models_as_dicts = [asdict(ledger) | {"why": why(ledger)} for ledger in ledgers]
        print(json.dumps({"models": models_as_dicts, "comparison": compare(ledgers)}, indent=2))
    elif ledgers:
        print(table(ledgers))
    return 2 if failed else 0


def _complain(path: str | os.PathLike[str], error: Exception) -> bool:
    cause = error.strerror if isinstance(error, OSError) and error.strerror else error
    print(f"segopt-sizes: {path} cannot be weighed: {cause}.", file=sys.stderr)
    return True
