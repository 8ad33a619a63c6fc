"""What compression does to one weight by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from segopt_callbacks.clustering import cluster
from segopt_callbacks.pruning import magnitude_mask
from segopt_callbacks.quantization import quantized_weight
from segopt_callbacks.rules import did_you_mean, require_fraction, require_whole

Name = Literal["int8", "int4", "prune", "cluster"]
TREATMENTS: tuple[Name, ...] = get_args(Name)
BITS = {"int8": 8, "int4": 4}

Treatment = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


def validate_treatments(treatments: Sequence[str], sparsity: float, number_of_clusters: int) -> tuple[Name, ...]:
    """Checks what shall be done to weights.

    Returns:
        the names of the treatments.

    Raises:
        ValueError: for an unknown treatment, none, one twice, or a setting outside its range.

    >>> validate_treatments(["int8"], 0.8, 8)
    ('int8',)
    """
    given = (treatments,) if isinstance(treatments, str) or not isinstance(treatments, Iterable) else treatments
    names: tuple[Any, ...] = tuple(given)
    wrong = [one for one in names if not isinstance(one, str) or one not in TREATMENTS]
    if not names or wrong or len(set(names)) < len(names):
        hint = did_you_mean(wrong[0], TREATMENTS) if wrong else ""
        raise ValueError(
            f"`treatments` must be different names out of {', '.join(TREATMENTS)}.{hint} Received: {treatments!r}."
        )
    require_fraction("sparsity", sparsity, "zeros", low="(", high=")")
    require_whole("number_of_clusters", number_of_clusters, 2)
    return names


def treatment_of(name: str, sparsity: float, number_of_clusters: int) -> Treatment:
    """A treatment as a function of a weight and the axes of its output channels.

    `"int8"`, `"int4"`: `fake_quant.quantized_weight`. `"prune"`: `masks.magnitude_mask`. `"cluster"`:
    `centroids.cluster`, zeros kept.

    Args:
        name: of `TREATMENTS`.
        sparsity: fraction of zeros, in (0, 1).
        number_of_clusters: most distinct values, at least 2.

    >>> treatment_of("prune", 0.5, 8)(np.array([[0.1, -3.0], [2.0, -0.2]]), (-1,)).tolist()
    [[0.0, -3.0], [2.0, 0.0]]
    """
    if name in BITS:
        return lambda weight, channel_axes: quantized_weight(weight, channel_axes, BITS[name]).numpy()
    if name == "prune":
        return lambda weight, _: np.where(magnitude_mask(weight, sparsity), weight, np.zeros_like(weight))
    return lambda weight, _: cluster(weight, number_of_clusters).weights
