"""Files for NPUs of Arm's Ethos-U family (`.tflite`): the int8 file for tflite-micro, compiled by Vela.

Vela makes one operation of everything that the NPU can compute, and compresses its weights: zeros and repeated values
take fewer bytes there, and the NPU unpacks them itself. Nothing but an Ethos-U runs that operation. So what is run and
compared here is the file that Vela has compiled; the report says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError, first_line, listed
from segopt_callbacks.export.ethos_u.figures import read_figures
from segopt_callbacks.export.litert import encoding, flatbuffer, interpreter, schema
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import EIGHT_BIT_TOLERANCE, Runner, Target
from segopt_callbacks.export.tflm import micro_content
from segopt_callbacks.processes import captured

NPU = "ethos-u"  # the custom operation that an NPU runs
VERIFIED = (
    "the int8 file that Vela has compiled was run in LiteRT and compared; what Vela has made of it was not run, "
    "as that takes an Ethos-U"
)


def write(source: Source, path: Path) -> None:
    """Compiles the file; what it was compiled from, and Vela's figures, are kept beside it until the export ends.

    Args:
        source: the function to convert, representative inputs, and the accelerator.
        path: the file to write.

    Raises:
        FormatError: if the converter or Vela refuses, or nothing would run on the NPU.
    """
    content, notes = micro_content(source)
    before = compiled_from(path)
    before.write_bytes(content)
    with tempfile.TemporaryDirectory() as folder:
        lines = _compile(before, source.accelerator, Path(folder))
        (compiled,) = Path(folder).glob("*_vela.tflite")
        model = schema.unpack(compiled.read_bytes())
        off = off_the_npu(model)
        if len(off) == sum(len(graph.operators) for graph in model.subgraphs):
            raise FormatError(f"Vela leaves everything to the CPU: {listed(off)}; export 'tflm_int8' instead")
        figures = read_figures(Path(folder), lines)
    path.write_bytes(_with_names(model, schema.unpack(content)))
    told = {"encoding": "compressed by Vela", "vela": version("ethos-u-vela"), "accelerator": source.accelerator}
    about_npu = {"off the NPU": ", ".join(off) or "nothing", "verified": VERIFIED}
    encoding.write_notes(path, {**notes, **told, **figures, **about_npu})


def off_the_npu(model: Any) -> list[str]:
    """Operations of a compiled file that a CPU computes, as `OPERATOR (name of its output)`."""
    return [
        f"{schema.operator_name(model, one)} ({schema.tensor_name(graph.tensors[one.outputs[0]])})"
        for graph in model.subgraphs
        for one in graph.operators
        if not _is_npu(model, one)
    ]


def compiled_from(path: Path) -> Path:
    """Where the int8 file is that a file was compiled from."""
    return path.with_name(f"{path.name}.int8")


def load(path: Path, source: Source, threads: int | None) -> Runner:
    """Opens the int8 file that the file was compiled from, in LiteRT.

    Args:
        path: the file.
        source: what it was made from.
        threads: of LiteRT.
    """
    return interpreter.load(compiled_from(path), source, threads)


def read_weights(path: Path, weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The weight audit of the int8 file that the file was compiled from: Vela's compression loses nothing of them."""
    return flatbuffer.read_weights(compiled_from(path), weights)


def read_activations(path: Path) -> list[dict[str, Any]]:
    """What that int8 file computes."""
    return flatbuffer.read_activations(compiled_from(path))


def float_operations(path: Path) -> list[str]:
    """What computes in float inside of that int8 file."""
    return flatbuffer.float_operations(compiled_from(path))


def _compile(path: Path, accelerator: str, folder: Path) -> list[str]:
    """Runs Vela in this process, which ends with the export; returns what it prints."""
    from ethosu.vela import vela

    lines: list[str] = []
    try:
        with captured() as lines:
            failed = vela.main([str(path), f"--accelerator-config={accelerator}", f"--output-dir={folder}"])
    except (Exception, SystemExit) as error:  # a compiler pass raises any of Python's kinds, or ends the program
        raise FormatError(f"Vela refuses the file: {_reason(lines) or first_line(error)}") from error
    if failed:
        raise FormatError(f"Vela refuses the file: {_reason(lines) or 'it does not say why'}")
    return lines


def _reason(lines: list[str]) -> str:
    told = [line for line in lines if "rror" in line]
    return told[-1] if told else ""


def _is_npu(model: Any, operator: Any) -> bool:
    code = model.operatorCodes[operator.opcodeIndex].customCode
    return code is not None and schema.text(code) == NPU


def _with_names(model: Any, before: Any) -> bytes:
    """The compiled file with the names of inputs and outputs, which Vela leaves out."""
    new, old, signatures = model.subgraphs[0], before.subgraphs[0], before.signatureDefs
    for named, ours, theirs in (
        (signatures[0].inputs, list(old.inputs), new.inputs),
        (signatures[0].outputs, list(old.outputs), new.outputs),
    ):
        for one in named:
            place = ours.index(one.tensorIndex)
            if schema.tensor_name(old.tensors[ours[place]]) != schema.tensor_name(new.tensors[theirs[place]]):
                raise FormatError("Vela has put inputs or outputs in another order; nothing tells which is which")
            one.tensorIndex = int(theirs[place])
    model.signatureDefs = signatures
    return schema.pack(model)


TARGET = Target(
    "ethos_u.tflite",
    write,
    load,
    read_weights,
    read_activations,
    float_operations,
    tolerance=EIGHT_BIT_TOLERANCE,
    bytes_per_weight=1 / 8,
    is_integer=True,
    is_timed=False,
    takes_ranges=True,
    notes=encoding.read_notes,
    requires=("ethosu",),
    extra="ethos_u",
)
