"""Computing in float32 for a while: mixed precision, and layers of half or double precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from segopt_callbacks.compat.kerases import is_keras_2
from segopt_callbacks.compat.models import all_layers

_OTHERS = ("float16", "bfloat16", "float64")


@contextlib.contextmanager
def float32_compute(model: Any) -> Iterator[bool]:
    """Lets the whole model compute in float32 for a while; converters refuse the casts of mixed precision.

    Variables stay as they are; those of another precision are cast where they are read.

    Yields:
        whether anything of the model computes in another type.
    """
    others = [layer for layer in all_layers(model) if str(layer.compute_dtype) in _OTHERS]
    before = [(layer, layer._dtype_policy) for layer in others]
    with contextlib.ExitStack() as undo:
        for layer, policy in before:
            undo.callback(_set_policy, layer, policy)
            _set_policy(layer, _reading(policy))
            if is_keras_2(layer):
                undo.enter_context(_casting_variables(layer))
        yield bool(others)


def _reading(policy: Any) -> Any:
    """The policy that computes in float32 with variables of another policy's dtype."""
    reading = type(policy)("float32")
    reading._variable_dtype = policy.variable_dtype
    return reading


@contextlib.contextmanager
def _casting_variables(layer: Any) -> Iterator[None]:
    """Keras 2 casts only variables that were made under a mixed policy."""
    from tf_keras.src.mixed_precision.autocast_variable import AutoCastVariable, create_autocast_variable

    def cast(value: Any) -> Any:
        is_other = isinstance(value, tf.Variable) and not isinstance(value, AutoCastVariable)
        return create_autocast_variable(value) if is_other and value.dtype.name in _OTHERS else value

    plain: dict[str, Any] = {}
    for name, value in list(vars(layer).items()):
        is_list = isinstance(value, list | tuple) and not name.startswith("_")  # those are Keras' own
        new: Any = [cast(one) for one in value] if is_list else cast(value)
        if any(one is not other for one, other in zip(new, value, strict=True)) if is_list else new is not value:
            plain[name] = value
            vars(layer)[name] = new
    try:
        yield
    finally:
        vars(layer).update(plain)


def _set_policy(layer: Any, policy: Any) -> None:
    if is_keras_2(layer):
        layer._set_dtype_policy(policy)
    else:
        layer.dtype_policy = policy
