"""Files for tflite-micro (`.tflite`): dense int8, int8 in and out, and no operation that it does not register."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segopt_callbacks.export.litert import converter, encoding, flatbuffer, schema
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import EIGHT_BIT_TOLERANCE, Target
from segopt_callbacks.export.tflm import interpreter
from segopt_callbacks.export.tflm.raw_bytes import take_int8


def write(source: Source, path: Path) -> None:
    """Writes the file. Its zeros stand in it: tflite-micro knows no sparse weights.

    Args:
        source: the function to convert, and representative inputs.
        path: the file to write.

    Raises:
        FormatError: if the converter refuses, or raw bytes cannot come in as int8.
    """
    content, notes = micro_content(source)
    path.write_bytes(content)
    encoding.write_notes(path, notes)


def micro_content(source: Source) -> tuple[bytes, dict[str, str]]:
    """The content of the file, and what the report should tell of it.

    Raises:
        FormatError: as `write` does.
    """
    content, notes = converter.integer_content(source)
    content, inputs = take_int8(_in_order(content, source))
    return content, {**notes, "encoding": "dense", **{f"input {name}": told for name, told in inputs.items()}}


def _in_order(content: bytes, source: Source) -> bytes:
    """The file with its inputs and outputs in the model's order: tflite-micro knows them by number alone."""
    model = schema.unpack(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    inputs, outputs = (
        {schema.text(one.name): one.tensorIndex for one in named} for named in (signature.inputs, signature.outputs)
    )
    graph.inputs = [inputs[name] for name in source.input_names]
    graph.outputs = [outputs[name] for name in source.output_names]
    return schema.pack(model)


def read_notes(path: Path, weight: Mapping[str, Any]) -> dict[str, Any]:
    """What `write` has told, and the bytes of memory that tflite-micro took for the file."""
    return {**encoding.read_notes(path, weight), **interpreter.read_arena(path)}


TARGET = Target(
    "tflm_int8.tflite",
    write,
    interpreter.load,
    flatbuffer.read_weights,
    flatbuffer.read_activations,
    flatbuffer.float_operations,
    tolerance=EIGHT_BIT_TOLERANCE,
    bytes_per_weight=1,
    is_integer=True,
    is_timed=False,  # plain kernels on a PC; a microcontroller has kernels of its own
    takes_ranges=True,
    notes=read_notes,
    requires=interpreter.REQUIRES,
    extra="tflm",
)
