"""What an export format has to offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.export.source import Source

Runner = Callable[[list[np.ndarray]], list[np.ndarray]]  # inputs of a batch of any size -> float or integer outputs


# Of the largest answer of an output. Generous: what rounding was seen to cost is a fifth of it at the most.
FLOAT_TOLERANCE = 0.01  # kernels of other libraries add in another order, which costs a millionth
HALF_TOLERANCE = 0.05  # weights of 16 bits
EIGHT_BIT_TOLERANCE = 1.0
FOUR_BIT_TOLERANCE = 1.0


@dataclass(frozen=True)
class Target:
    """One export format: a row of the table in `formats.py`.

    `write` and `load` are called in other processes, and must be importable there.

    Attributes:
        file_name: what the file or folder is called under `export_dir`.
        write: `(source, path)`, writes it to `path`, which does not exist yet.
        load: `(path, source, threads)`, opens what was written, and returns the function that runs it, on that many
            threads (`None`: as many as its runtime wants).
        read_weights: `(path, weights)`, the rows of its weight audit, read from the file itself; `weights` are the
            model's, path -> value, to name them by.
        read_activations: `(path)`, name, shape and dtype of everything that the file computes, where it can tell.
        float_operations: what computes in float inside the file, for a format that may have none; see `audit`.
        any_batch: whether it is made from the function whose batch is open, instead of 1.
        open_sizes: whether it can leave sizes of its inputs open, the batch's among them.
        uses_tensorflow: whether running it takes TensorFlow, which takes seconds to import.
        bytes_per_weight: how much of the file a weight takes at the least.
        tolerance: largest difference from the model's answers, as a fraction of the largest answer of an output;
            beyond it the file fails. `None` for no limit: differences are reported alone.
        is_integer: whether it needs representative data.
        is_timed: whether what `load` opens is what users deploy, so that its latency means something.
        takes_ranges: whether it can be made from a source that holds the ranges instead, see `ranged`.
        notes: `(path, weight)`, what else the report should tell of a written file, ready for JSON; called where the
            report is made, behind `load`. `weight` has its `bytes` and `gzip_bytes`.
        requires: modules that must be installed, beside those that this library needs itself.
        extra: the extra of this package that installs them.
    """

    file_name: str
    write: Callable[[Source, Path], None]
    load: Callable[[Path, Source, int | None], Runner]
    read_weights: Callable[[Path, Mapping[str, np.ndarray]], list[dict[str, Any]]]
    read_activations: Callable[[Path], list[dict[str, Any]]] | None = None
    float_operations: Callable[[Path], list[str]] | None = None
    any_batch: bool = False
    open_sizes: bool = False
    uses_tensorflow: bool = False
    bytes_per_weight: float = 4
    tolerance: float | None = None
    is_integer: bool = False
    is_timed: bool = True
    takes_ranges: bool = False
    notes: Callable[[Path, Mapping[str, Any]], dict[str, Any]] | None = None
    requires: tuple[str, ...] = ()
    extra: str | None = None
