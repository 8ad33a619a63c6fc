"""Weights of a model whose export comes to nothing: warned of before the training, saved elsewhere after it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segopt_callbacks.errors import ExportError, add_to, first_line
from segopt_callbacks.export.target import Target

_WORK = 2 * 4  # bytes of a weight in what the formats are made from: two SavedModels
_MIB = 2**20


def warn_if_tight(model: Any, targets: Sequence[Target], place: Path) -> None:
    """Warns if the disk of `place` has less room than the files of an export are likely to take.

    Args:
        model: a built Keras model.
        targets: the formats.
        place: an existing folder.
    """
    weights = sum(int(np.prod(weight.shape)) for weight in model.weights)
    needed = weights * (_WORK + sum(target.bytes_per_weight for target in targets))
    free = shutil.disk_usage(place).free
    if free < needed:
        warnings.warn(
            f"The disk should have room for the export when training ends; free some. Received: {free / _MIB:.1f} MiB "
            f"free in {str(place)!r}, and {needed / _MIB:.1f} MiB or more of files.",
            stacklevel=3,
        )


@contextlib.contextmanager
def weights_kept(model: Any) -> Iterator[None]:
    """Saves the model's weights if what runs inside raises and has delivered nothing; the error then says where.

    The error itself stays what it is, whatever becomes of the weights.
    """
    try:
        yield
    except Exception as error:  # whatever it is; it goes on, and says one thing more
        if not (isinstance(error, ExportError) and error.delivered):
            add_to(error, save_elsewhere(model))
        raise


def save_elsewhere(model: Any) -> str:
    """Saves the weights in a fresh folder of the working directory, else of the system's temporary one.

    Returns:
        where they are, or why they are nowhere.
    """
    refusals = []
    for find_place in (Path.cwd, lambda: Path(tempfile.gettempdir())):
        folder = None
        try:
            folder = Path(tempfile.mkdtemp(prefix="rescued-weights-", dir=find_place()))
            path = folder / "model.weights.h5"
            model.save_weights(str(path))
            return (
                f"the trained weights are saved in {str(path)!r}: call `load_weights` on a model that is built alike, "
                "then `export_model`"
            )
        except Exception as error:  # whatever it is, it must not hide the error that brought us here
            refusals.append(first_line(error))
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
    return f"the trained weights could not be saved elsewhere either ({'; '.join(refusals)})"
