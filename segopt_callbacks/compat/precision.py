"""Mixed precision, left for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from segopt_callbacks.compat.kerases import is_keras_2
from segopt_callbacks.compat.models import all_layers


@contextlib.contextmanager
def float32_compute(model: Any) -> Iterator[None]:
    """Lets the whole model compute in float32 for a while; converters refuse the casts of mixed precision."""
    mixed = [layer for layer in all_layers(model) if str(layer.compute_dtype) in ("float16", "bfloat16")]
    before = [(layer, layer._dtype_policy) for layer in mixed]
    try:
        for layer in mixed:
            _set_policy(layer, "float32")
        yield
    finally:
        for layer, policy in before:
            _set_policy(layer, policy)


def _set_policy(layer: Any, policy: Any) -> None:
    if is_keras_2(layer):
        import tf_keras

        is_name = isinstance(policy, str)
        layer._set_dtype_policy(tf_keras.mixed_precision.Policy(policy) if is_name else policy)
    else:
        layer.dtype_policy = policy
