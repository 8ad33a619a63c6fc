"""Recurrent layers without the function that a converter takes for an operation of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from segopt_callbacks.compat.models import all_layers


@contextlib.contextmanager
def plain_recurrence(model: Any) -> Iterator[None]:
    """Lets every LSTM of Keras 2 compute step by step for a while, as those of Keras 3 do.

    Otherwise it is one function, marked for cuDNN. LiteRT's converter makes `UNIDIRECTIONAL_SEQUENCE_LSTM` of that,
    which begins each call with the state that the last one has left.
    """
    fused = [layer for layer in all_layers(model) if _is_fused_lstm(layer)]
    try:
        for layer in fused:
            layer._could_use_gpu_kernel = False
        yield
    finally:
        for layer in fused:
            layer._could_use_gpu_kernel = True


def _is_fused_lstm(layer: Any) -> bool:
    is_lstm = any(base.__name__ == "LSTM" for base in type(layer).__mro__)
    return is_lstm and bool(getattr(layer, "_could_use_gpu_kernel", False))
