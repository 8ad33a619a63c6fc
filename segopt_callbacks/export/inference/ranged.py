"""Known ranges of a model's tensors -> the source of its `int8` file, rounded where the file rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks import compat
from segopt_callbacks.errors import FormatError, listed
from segopt_callbacks.export.source import ONE, Source
from segopt_callbacks.model import signature
from segopt_callbacks.quantization import (
    Calibration,
    Simulation,
    Sites,
    as_ranges,
    checked_ranges,
    find_sites,
    observe,
    resolved_ranges,
    validate_calibration,
)

Ranges = Mapping[str, tuple[float, float]]
Examples = Callable[[], Iterator[list[np.ndarray]]]


@dataclass(frozen=True)
class Wanted:
    """How an `int8` file comes to its ranges.

    Attributes:
        ranges: name of a tensor -> its lowest and highest value, where training has learned it.
        calibration: how the others are found, a name of `calibration.METHODS`.
    """

    ranges: Ranges
    calibration: Calibration

    @property
    def is_plain(self) -> bool:
        """Whether ranges are those that the converter would find by itself, only sooner."""
        return not self.ranges and self.calibration == "min_max"


def validate_ranges(ranges: Any, calibration: Any) -> Wanted:
    """Checks what the user says of ranges.

    Raises:
        ValueError: unless `ranges` is `None` or maps names to pairs of finite numbers around zero, and `calibration`
            is a name of `calibration.METHODS`.

    Example:
        >>> validate_ranges({"input_0": (0.0, 1.0)}, "min_max").is_plain
        False
    """
    validate_calibration(calibration)
    return Wanted(checked_ranges(ranges), calibration)


def save_rounded(
    model: Any,
    inputs: Any,
    wanted: Wanted,
    examples: Examples | None,
    folder: Path,
    batch_size: int | None = 1,
    finish: Callable[[signature.Frozen], signature.Frozen] = lambda frozen: frozen,
) -> tuple[Source, dict[str, Any]]:
    """Saves the inference function with every tensor rounded that has a range in the file.

    Kernels are not: converters round them by themselves, to what training has simulated.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, batch first.
        wanted: the ranges that are known.
        examples: returns representative inputs; `None` where there are none.
        folder: for the source's files; must not exist.
        batch_size: that of the file; `None` for any.
        finish: what else is done to the function before it is saved.

    Returns:
        the source, and for the report `learned`, how many ranges come from training, `calibrated`, names of those
        that come from representative data, and by which `method`.

    Raises:
        FormatError: if ranges are missing and there are no examples, or if none of the known ones is of this model.
            Where all are to be those of the converter, also if an operation of the model has no range here.
    """
    try:
        sites = find_sites(model, inputs)
    except ValueError as error:
        raise FormatError(f"the model does not run as a graph: {error}") from error
    if wanted.is_plain and sites.unknown:
        raise FormatError(f"operations have no 8-bit form that is known here: {', '.join(sites.unknown[:3])}")
    learned = {name: wanted.ranges[name] for name in sites.activations if name in wanted.ranges}
    if wanted.ranges and not learned:
        raise FormatError(
            "`ranges` must be of this model; pass those that its own training has learned. Received: "
            f"{', '.join(list(wanted.ranges)[:3])}, and none of {', '.join(sites.activations[:3])}"
        )
    calibrated = _calibrated(model, inputs, sites, learned, wanted, examples)
    ranges = as_ranges({**learned, **calibrated, **sites.fixed})
    undo = Simulation(model, sites, ranges, kernels=()).attach()
    try:
        with compat.integer_forms():
            frozen = signature.freeze(model, inputs, batch_size=batch_size)
    finally:
        undo()
    frozen = finish(frozen)
    signature.save(frozen, folder / ONE)
    names = sorted(calibrated)
    told = {"learned": sum(name not in sites.fixed for name in learned), "calibrated": names}
    told |= {"method": wanted.calibration} if names else {}
    return replace(Source(folder, frozen.inputs, frozen.outputs), has_ranges=True), told


def _calibrated(
    model: Any, inputs: Any, sites: Sites, learned: Ranges, wanted: Wanted, examples: Examples | None
) -> dict[str, tuple[float, float]]:
    missing = [name for name in sites.activations if name not in learned and name not in sites.fixed]
    if not missing:
        return {}
    if examples is None:
        raise FormatError(
            "tensors without a learned range must see data; pass `representative_dataset` or `evaluation_data`. "
            f"Received: neither, and no range of {listed(missing)}"
        )
    try:
        found = observe(
            model,
            inputs,
            missing,
            examples,
            wanted.calibration,
            logits=sites.logits,
            answers=sites.answers,
            with_folded=not wanted.is_plain,
        )
    except ValueError as error:
        raise FormatError(str(error)) from error
    unseen = [name for name in missing if name not in found]
    if unseen and not wanted.is_plain:  # there it is folded into a kernel, or the converter finds all of them
        raise FormatError(f"the model does not compute these tensors of its graph: {listed(unseen)}")
    return resolved_ranges(sites, found, {**learned, **sites.fixed})
