"""What 8 bits can make use of: the part of a tensor's values that its range is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from segopt_callbacks.quantization.singular import limits
from segopt_callbacks.quantization.sites import Sites
from segopt_callbacks.quantization.softmaxes import limits_of_mask


def resolved_ends(sites: Sites, name: str, low: Any, high: Any, bounds: Callable[[str], Any]) -> tuple[Any, Any]:
    """The lowest and highest value of a tensor, but for what the rounding of others makes no use of.

    Args:
        sites: of the model.
        name: of the tensor.
        low: scalar, its lowest value.
        high: scalar, its highest.
        bounds: name of another tensor -> `(2,)` its lowest and highest value.

    Returns:
        both values: of what a singular operation gives, within what one step of its input allows; of a mask, as far
        from zero as it must be.
    """
    if name in sites.singular:
        kind, inputs = sites.singular[name]
        lowest, highest = limits(kind, [bounds(one) if isinstance(one, str) else one for one in inputs])
        low, high = tf.maximum(low, lowest), tf.minimum(high, highest)
    if name in sites.terms:
        low, high = limits_of_mask(low, high, bounds(sites.terms[name]))
    return low, high


def resolved_ranges(
    sites: Sites, found: Mapping[str, tuple[float, float]], known: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Ranges of representative data, each within what the others allow.

    Args:
        sites: of the model.
        found: name -> lowest and highest value that was seen.
        known: name -> those of all other tensors.
    """
    ranges = {**known, **found}
    for name in sites.activations:
        if name in found and _neighbours(sites, name) <= ranges.keys():
            ends = tf.constant(found[name][0]), tf.constant(found[name][1])
            low, high = resolved_ends(sites, name, *ends, lambda one: tf.constant(ranges[one]))
            ranges[name] = float(low), float(high)
    return {name: ranges[name] for name in found}


def _neighbours(sites: Sites, name: str) -> set[str]:
    """Names of the tensors whose ranges limit this one's; one that a converter folds into a kernel has none."""
    _, inputs = sites.singular.get(name, ("", ()))
    return {one for one in (*inputs, sites.terms.get(name)) if isinstance(one, str)}
