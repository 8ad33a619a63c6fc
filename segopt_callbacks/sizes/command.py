"""The size ledger of model files, and its command `segopt-sizes`.

A file's bytes are its weights', its optimizer state's, and the rest: the graph, and what the format needs around it.
A SavedModel is a folder; its `saved_model.pb` alone is the graph without the weights, which makes it look small.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from segopt_callbacks.commands import Parser, ends_with_its_reader
from segopt_callbacks.errors import printable
from segopt_callbacks.sizes.count import file_bytes, gzip_bytes, walk
from segopt_callbacks.sizes.flatbuffer import read_tflite
from segopt_callbacks.sizes.protobuf import read_checkpoint, read_onnx, read_saved_model_pb
from segopt_callbacks.sizes.readers import CorruptFileError, StoredTensor, read_hdf5, read_keras
from segopt_callbacks.sizes.text import Ledger, compare, table, why

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
        _format_of(path)
        return [path]
    is_saved_model = (path / "saved_model.pb").exists()
    graphs = [path] if is_saved_model else [found.parent for found in walk(path) if found.name == "saved_model.pb"]
    inside = {file for graph in graphs for file in walk(graph)}
    files = (file for file in walk(path) if file.suffix.lower() in FORMATS and file.is_file())
    models = sorted({*graphs, *(file for file in files if file not in inside)})
    if not models:
        raise CorruptFileError(f"it holds no model: neither a saved_model.pb nor a file in {', '.join(FORMATS)}")
    return models


def _format_of(path: Path) -> str:
    if path.suffix.lower() not in FORMATS:
        raise CorruptFileError(f"its name must end in one of {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]


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
    kind = _format_of(path)
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


@ends_with_its_reader
def main(argv: Sequence[str] | None = None) -> int:
    """Prints the ledger of every model that the command line names.

    Args:
        argv: arguments, by default the process's own.

    Returns:
        the exit code: 0, 2 if something could not be read, 130 after Ctrl-C.
    """
    parser = Parser(
        prog="segopt-sizes",
        description="Weighs models in bytes: graph, weights, optimizer state, whole, gzip -9; says why they differ.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help=f"a SavedModel, {', '.join(FORMATS)}, or a folder")
    parser.add_argument("--json", action="store_true", help="print JSON, sizes in bytes")
    arguments = parser.parse_args(argv)
    try:
        ledgers, failures = _weigh(arguments.paths)
    except KeyboardInterrupt:
        return 130
    if arguments.json:
        models = [asdict(ledger) | {"why": why(ledger)} for ledger in ledgers]
        print(json.dumps({"models": models, "comparison": compare(ledgers)}, indent=2))
    elif ledgers:
        print(table(ledgers))
    return 2 if failures else 0


def _weigh(paths: Sequence[str]) -> tuple[list[Ledger], int]:
    """The ledger of each model, once, and how many paths could not be read; each of those gets a line on stderr."""
    found: dict[Path, Ledger] = {}
    failures = 0
    for path in paths:
        try:
            models = find_models(path)
        except (CorruptFileError, OSError) as error:
            failures += _complain(path, error)
            continue
        for model in models:
            try:
                if model.resolve() not in found:
                    found[model.resolve()] = read_ledger(model)
            except (CorruptFileError, OSError) as error:
                failures += _complain(model, error)
    return list(found.values()), failures


def _complain(path: str | os.PathLike[str], error: Exception) -> int:
    cause = error.strerror if isinstance(error, OSError) and error.strerror else error
    print(printable(f"segopt-sizes: {path} cannot be weighed: {cause}."), file=sys.stderr)
    return 1
