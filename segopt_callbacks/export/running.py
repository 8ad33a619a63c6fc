"""Any file of an export, opened in its own runtime by what it tells about itself; without its model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export.delivery import read_metadata
from segopt_callbacks.export.formats import TARGETS, is_installed
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import Runner
from segopt_callbacks.processes import quiet
from segopt_callbacks.records import Port

_NOT_HERE = {"ethos_u": "it runs on an Ethos-U alone; the `int8` file gives the same answers"}


@dataclass(frozen=True)
class Exported:
    """A file that is open.

    Attributes:
        about: what it tells about itself, see `read_metadata`.
        inputs: in the order in which `run` takes them. Where integers stand for floats, `dtype` is that of the floats;
            where a file takes bytes less 128, it is that of the bytes.
        outputs: in the order in which `run` gives them.
        run: inputs of a batch -> outputs; it converts where integers stand for floats, and subtracts 128.
    """

    about: Mapping[str, Any]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    run: Runner


def open_exported(path: Path, *, threads: int | None = None) -> Exported:
    """Opens a file that an export has written, wherever it is now.

    Args:
        path: a `.tflite` or `.onnx` file, the folder of a format, or the `NAME.json` beside one.
        threads: of its runtime; default: as many as that wants.

    Raises:
        ValueError: if it is none of an export, or its runtime is not installed or has to be another machine's.
        FormatError: if its runtime refuses it.
    """
    about = read_metadata(path)
    name = about["format"]
    if name not in TARGETS or name in _NOT_HERE:
        raise ValueError(f"A file must run here. Received: {path}, {name}: {_NOT_HERE.get(name, 'an unknown format')}.")
    target = TARGETS[name]
    if not is_installed(name):
        raise ValueError(
            f"The runtime of a file must be installed; run `pip install 'segopt-callbacks[{target.extra}]'`. "
            f"Received: {path}, {name}."
        )
    inputs, outputs = (tuple(map(_port, about[key])) for key in ("inputs", "outputs"))
    file = path.with_name(target.file_name) if path.suffix == ".json" else path
    with quiet(), tempfile.TemporaryDirectory() as folder:
        if target.extra == "tflm":  # what opens it writes a note beside it, which is for exports
            file = Path(shutil.copy(file, folder))
        try:
            run = target.load(file, Source(Path(folder), inputs, outputs), threads)
        except OSError as error:  # a part of the folder is missing, or TensorFlow's of a damaged one
            raise FormatError(f"it cannot be opened: {first_line(error)}") from error
    return Exported(about, inputs, outputs, run)


def _port(told: Mapping[str, Any]) -> Port:
    dtype = told["dtype"]
    if "offset" in told:
        dtype = "uint8"
    elif "quantization" in told and dtype != "uint8":
        dtype = "float32"
    return Port(told["name"], tuple(told["shape"]), dtype)
