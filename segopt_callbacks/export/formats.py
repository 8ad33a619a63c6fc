"""The table of export formats."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from segopt_callbacks.export import ethos_u, litert, onnx, openvino, saved_model, tensorrt, tflm, tvm
from segopt_callbacks.export.litert import ai_edge
from segopt_callbacks.export.onnx import int8 as onnx_int8
from segopt_callbacks.export.target import Target
from segopt_callbacks.rules import did_you_mean

Format = Literal[
    "saved_model",
    "float32",
    "float16",
    "dynamic_int8",
    "int8",
    "int16x8",
    "weight_only_int8",
    "int4",
    "tflm_int8",
    "tflm_lut",
    "ethos_u",
    "onnx",
    "onnx_int8",
    "tensorrt",
    "openvino_int8",
    "tvm",
]
_TARGETS: dict[Format, Target] = {
    "saved_model": saved_model.TARGET,
    "float32": litert.target("float32"),
    "float16": litert.target("float16"),
    "dynamic_int8": litert.target("dynamic_int8"),
    "int8": litert.target("int8"),
    "int16x8": litert.target("int16x8"),
    "weight_only_int8": ai_edge.target("weight_only_int8"),
    "int4": ai_edge.target("int4"),
    "tflm_int8": tflm.TARGET,
    "tflm_lut": tflm.tables.TARGET,
    "ethos_u": ethos_u.TARGET,
    "onnx": onnx.TARGET,
    "onnx_int8": onnx_int8.TARGET,
    "tensorrt": tensorrt.TARGET,
    "openvino_int8": openvino.TARGET,
    "tvm": tvm.TARGET,
}
TARGETS: dict[str, Target] = dict(_TARGETS.items())  # looked up by any text; `validate_formats` checks it


def validate_formats(formats: Sequence[str], *, has_data: bool, has_ranges: bool = False) -> tuple[Format, ...]:
    """Checks the names of formats before any work is done.

    Args:
        formats: names out of `TARGETS`, each once.
        has_data: whether there is representative or evaluation data.
        has_ranges: whether ranges are known without; then `int8` needs no data.

    Returns:
        the names as a tuple.

    Raises:
        ValueError: for a name that is unknown, repeated or missing, for a format whose packages are not installed, and
            for an integer format without data.

    Example:
        >>> validate_formats(["float32", "float16"], has_data=False)
        ('float32', 'float16')
    """
    given = (formats,) if isinstance(formats, str) or not isinstance(formats, Iterable) else formats
    names: tuple[Any, ...] = tuple(given)
    known = ", ".join(TARGETS)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"`formats` must name at least one format, each once. Received: {names}. Known: {known}.")
    for name in names:
        if not isinstance(name, str) or name not in TARGETS:
            hint = did_you_mean(name, TARGETS)
            raise ValueError(f"`formats` must be known; correct it.{hint} Received: {name!r}. Known: {known}.")
        _require_installed(name, TARGETS[name])
        if TARGETS[name].is_integer and not has_data and not (has_ranges and TARGETS[name].takes_ranges):
            raise ValueError(
                f"The format {name!r} must see data to find the ranges of activations; pass `representative_dataset` "
                "or `evaluation_data`. Received: neither."
            )
    return names


def is_installed(name: str) -> bool:
    """Whether the packages of a known format are there."""
    return not _missing(TARGETS[name])


def _missing(target: Target) -> list[str]:
    return [module for module in target.requires if importlib.util.find_spec(module) is None]


def _require_installed(name: str, target: Target) -> None:
    if missing := _missing(target):
        raise ValueError(
            f"The packages of a format must be installed; run `pip install 'segopt-callbacks[{target.extra}]'`. "
            f"Received: {name!r}, without {', '.join(missing)}."
        )
