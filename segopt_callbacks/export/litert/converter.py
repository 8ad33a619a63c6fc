"""LiteRT files (`.tflite`) by TensorFlow's converter: float32, float16, dynamic int8, full-integer int8 and 16x8.

`int16x8` (activations of 16 bits, weights of 8) loses nothing but what 8-bit weights lose. LiteRT has plain reference
kernels for it on CPUs, on which a U-Net is 25 times slower than in float32: it is for accelerators that have it.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export.litert import encoding, flatbuffer, schema
from segopt_callbacks.export.litert.digits import shorten
from segopt_callbacks.export.litert.integer_casts import cast_to_integers
from segopt_callbacks.export.litert.interpreter import load
from segopt_callbacks.export.litert.ports import name_inputs
from segopt_callbacks.export.litert.raw_inputs import take_raw_integers
from segopt_callbacks.export.litert.shared_scales import share_scales
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.target import (
    EIGHT_BIT_TOLERANCE,
    FLOAT_TOLERANCE,
    HALF_TOLERANCE,
    Target,
)

_KERNELS = {  # dtype of activations -> the sets that the converter may choose from
    "int8": ("TFLITE_BUILTINS_INT8",),
    # The cast of raw images has no int16 kernel, and the first set alone refuses it. It is taken off afterwards, and
    # the audit names whatever else computes in float.
    "int16": ("EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8", "TFLITE_BUILTINS"),
}
_FLOAT_EDGE = re.compile(r"Unsupported (in|out)put type \w+ for (in|out)put tensor .* of type FLOAT32")


@dataclass(frozen=True)
class Settings:
    """What the converter is told.

    Attributes:
        optimize: whether weights are stored in fewer bits.
        types: dtypes of stored weights, empty for the converter's default (int8).
        activations: the integers that activations are, inputs and outputs too; `None` for float.
        bytes_per_weight: what a weight takes in the file.
        tolerance: see `Target`.
    """

    optimize: bool
    types: tuple[str, ...] = ()
    activations: str | None = None
    bytes_per_weight: int = 1
    tolerance: float = EIGHT_BIT_TOLERANCE

    @property
    def is_integer(self) -> bool:
        """Whether nothing may compute in float."""
        return self.activations is not None

    @property
    def takes_ranges(self) -> bool:
        """Whether it can be made from a function that holds the ranges."""
        return self.activations == "int8"


SETTINGS = {
    "float32": Settings(optimize=False, bytes_per_weight=4, tolerance=FLOAT_TOLERANCE),
    "float16": Settings(optimize=True, types=("float16",), bytes_per_weight=2, tolerance=HALF_TOLERANCE),
    "dynamic_int8": Settings(optimize=True),
    "int8": Settings(optimize=True, activations="int8"),
    "int16x8": Settings(optimize=True, activations="int16"),
}


def target(name: str) -> Target:
    """The row of the table for one of `SETTINGS`.

    Example:
        >>> target("int8").file_name
        'int8.tflite'
    """
    settings = SETTINGS[name]
    return Target(
        f"{name}.tflite",
        functools.partial(write, settings),
        load,
        flatbuffer.read_weights,
        flatbuffer.read_activations,
        flatbuffer.float_operations if settings.is_integer else None,
        tolerance=settings.tolerance,
        bytes_per_weight=settings.bytes_per_weight,
        is_integer=settings.is_integer,
        open_sizes=True,
        takes_ranges=settings.takes_ranges,
        notes=encoding.read_notes,
    )


def write(settings: Settings, source: Source, path: Path) -> None:
    """Converts and writes the file, sparse where that is smaller, see `encoding`.

    A full-integer file takes uint8 or int8 where the model was fed them, raw values; else integers of the dtype of its
    activations, by their scale and zero point. Its float outputs are such integers, by theirs.

    Args:
        settings: a row of `SETTINGS`.
        source: the function to convert, and representative inputs, which are read for full-integer files only.
        path: the file to write.

    Raises:
        FormatError: if the converter refuses.
    """
    notes: dict[str, str] = {}
    if settings.takes_ranges:
        made, notes = _integer_file(source)
        shutil.copyfile(made, path)
    elif settings.optimize:
        path.write_bytes(convert(settings, source))
    else:
        shutil.copyfile(_float_file(source), path)
    encoding.keep_smallest(path, source, load, notes)


def _with_ranges(settings: Settings, source: Source) -> tuple[bytes, str]:
    """The content, and why the converter has found the ranges by itself, where that was not necessary."""
    if source.plain is None:
        return convert(settings, source), source.why_plain
    try:
        content = convert(settings, source)
        operations = flatbuffer.float_operations_in(schema.unpack(content))
    except FormatError as error:
        return convert(settings, source.plain), f"with ranges {error}"
    if operations:
        return convert(settings, source.plain), f"with ranges these compute in float32: {', '.join(operations)}"
    return content, ""


def integer_content(source: Source) -> tuple[bytes, dict[str, str]]:
    """The content of the int8 file, dense, and what the report should tell of its ranges.

    Raises:
        FormatError: if the converter refuses.
    """
    path, notes = _integer_file(source)
    return path.read_bytes(), notes


def _integer_file(source: Source) -> tuple[Path, dict[str, str]]:
    told = source.folder / "int8.json"

    def make() -> bytes:
        content, why_plain = _with_ranges(SETTINGS["int8"], source)
        notes = {"ranges": f"found by the converter: {why_plain}"} if why_plain else {}
        told.write_text(json.dumps(notes), encoding="utf-8")
        return content

    path = _made_once(source.folder / "int8.tflite", make)
    return path, json.loads(told.read_text(encoding="utf-8"))


def float_content(source: Source) -> bytes:
    """The content of the float32 file, dense.

    Raises:
        FormatError: if the converter refuses.
    """
    return _float_file(source).read_bytes()


def _float_file(source: Source) -> Path:
    return _made_once(source.folder / "float32.tflite", lambda: convert(SETTINGS["float32"], source))


def _made_once(path: Path, make: Callable[[], bytes]) -> Path:
    """A file of what `make` returns, kept for all formats of an export that begin with it."""
    if not path.exists():
        unfinished = path.with_name(f".{path.name}.unfinished")  # this process may be killed while it writes
        unfinished.write_bytes(make())
        unfinished.replace(path)
    return path


def convert(settings: Settings, source: Source) -> bytes:
    """The content of the file, dense; arguments and errors are those of `write`."""
    if settings.is_integer:
        _require_no_loops(source)
    with warnings.catch_warnings():
        # The converter's own calibrator runs TensorFlow's interpreter; nothing of ours does.
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
        try:
            content = _converter(settings, source, settings.activations).convert()
        except Exception as error:  # whatever it is, the converter has refused
            if not _FLOAT_EDGE.search(str(error)):
                raise FormatError(f"the converter refuses the model: {first_line(error)}") from error
            # What computes in float there the converter does not say; the audit of a file with float outputs does.
            content = _converter(settings, source, "float32").convert()
    if settings.bytes_per_weight == 1:
        content = share_scales(content, source.kernels())
    if settings.is_integer:
        return name_inputs(cast_to_integers(take_raw_integers(content)))
    return flatbuffer.merge_rounded_weights(shorten(content) if settings.bytes_per_weight == 1 else content)


def _converter(settings: Settings, source: Source, edge: str | None) -> Any:
    """TensorFlow's converter, ready for one conversion; `edge` is the dtype of what were float inputs and outputs."""
    import tensorflow as tf

    # From the folder: from a function it would save the same again, and have its weights in memory twice.
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source.saved_model))
    if settings.optimize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.as_dtype(name) for name in settings.types]
    if settings.activations is not None:
        if not source.has_ranges:  # the converter insists on examples for a set of integer kernels alone
            converter.representative_dataset = lambda: (
                dict(zip(source.input_names, example, strict=True)) for example in source.examples()
            )
            kernels = _KERNELS[settings.activations] + (("TFLITE_BUILTINS",) if source.allows_float else ())
            converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, name) for name in kernels]
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(edge)
    return converter


def _require_no_loops(source: Source) -> None:
    # The converter dies of a segmentation fault. What it makes of Keras 2's LSTMs as one operation keeps its state
    # between calls, and is far from the model besides: see `compat.plain_recurrence`.
    definition = source.definition()
    nodes = [*definition.node, *(node for one in definition.library.function for node in one.node_def)]
    loops = sorted({node.name for node in nodes if node.op in ("While", "StatelessWhile")})
    if loops:
        raise FormatError(
            f"loops have no integer form in LiteRT, and recurrent layers are loops: {', '.join(loops[:5])}; export "
            "'dynamic_int8' or 'onnx' instead"
        )
