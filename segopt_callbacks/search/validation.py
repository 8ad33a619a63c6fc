"""The arguments of a search, checked before any work is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.data import validate_evaluation
from segopt_callbacks.rules import require_folder, require_whole

_LEAST = {"epochs": 1, "trials": 1, "batch_size": 1, "seed": 0, "stale_after": 1}


def validate_places(storage: Any, output_dir: Any, callbacks: Any) -> None:
    """Checks where a search is kept, and the callbacks of its fits.

    Raises:
        ValueError: for what is no URL, no folder, or no sequence of callbacks.

    >>> validate_places(None, "search", ())
    """
    if storage is not None and not isinstance(storage, str):
        raise ValueError(
            "`storage` must be the URL of a database, such as sqlite:///study.db, or None. "
            f"Received: {type(storage).__name__}."
        )
    require_folder("output_dir", output_dir)
    given = list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
    wrong = [one for one in given if isinstance(one, type) or not callable(getattr(one, "on_epoch_end", None))]
    if wrong:
        raise ValueError(f"`callbacks` must be a list of callbacks, instances. Received: {wrong[0]!r}.")


def validate_search(build_model: Callable[..., Any], data: Any, **numbers: int | None) -> None:
    """Checks the arguments that are no bounds.

    Raises:
        ValueError: for one outside its range.

    >>> import numpy as np
    >>> pair = np.zeros((2, 4)), np.zeros(2)
    >>> validate_search(lambda: None, {"train": pair, "val": pair}, epochs=1)
    """
    if not callable(build_model) or compat.is_model(build_model):
        raise ValueError(
            "`build_model` must be a function that returns a compiled model, a new one at each call. "
            f"Received: {type(build_model).__name__}."
        )
    if not isinstance(data, Mapping) or set(data) != {"train", "val"}:
        told = sorted(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
        raise ValueError(
            '`data` must be {"train": what fit trains on, "val": what it takes as validation_data}. '
            f"Received: {told}."
        )
    for name, one in data.items():
        if hasattr(one, "__next__"):
            raise ValueError(
                f'`data["{name}"]` must be what can be read again for each trial: arrays, or a tf.data.Dataset. '
                f"Received: {type(one).__name__}."
            )
    validate_evaluation(data["val"], None, None, None)
    if isinstance(data["train"], tuple | list) and len(data["train"]) not in (2, 3):
        raise ValueError(
            '`data["train"]` must be (x, y), (x, y, sample_weight), or a dataset. '
            f"Received: {type(data['train']).__name__} of {len(data['train'])}."
        )
    for name, value in numbers.items():
        require_whole(name, value, _LEAST[name], or_none=name == "batch_size")
