"""What a report compares its files with."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any

from segopt_callbacks.rules import is_number

MODEL = "model"


def as_baselines(baselines: Mapping[str, Mapping[str, float]], taken: Container[str]) -> dict[str, Any]:
    """Rows of a report for comparison.

    Args:
        baselines: name -> metrics, such as those of a dense model that was trained equally long.
        taken: names that are those of other rows.

    Raises:
        ValueError: for a name that is taken by a format or the model, or what is no finite number.

    Example:
        >>> as_baselines({"dense float32": {"mIoU": 0.759}}, ["int8"])
        {'dense float32': {'metrics': {'mIoU': 0.759}}}
    """
    if not isinstance(baselines, Mapping) or not all(isinstance(one, Mapping) for one in baselines.values()):
        raise ValueError(
            '`baselines` must be name -> metrics, such as {"dense float32": {"mIoU": 0.759}}. '
            f"Received: baselines={baselines!r}."
        )
    for name, metrics in baselines.items():
        if not isinstance(name, str) or not name or name == MODEL or name in taken:
            raise ValueError(
                f"A name in `baselines` must not be that of a format or the model; choose another. Received: {name!r}."
            )
        for key, value in metrics.items():
            if not isinstance(key, str) or not is_number(value) or not math.isfinite(value):
                raise ValueError(
                    f"A metric in `baselines` must be a finite number. Received: {name!r} with {key!r}={value!r}."
                )
    return {name: {"metrics": {key: float(one) for key, one in rows.items()}} for name, rows in baselines.items()}
