"""Computing in float32 for a while: mixed precision, and layers of half or double precision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from segopt_callbacks.compat.kerases import is_keras_2
from segopt_callbacks.compat.models import all_layers

_OTHERS = ("float16", "bfloat16", "float64")


@contextlib.contextmanager
def float32_compute(model: Any) -> Iterator[bool]:
    """Lets the whole model compute in float32 for a while; converters refuse the casts of mixed precision.

    Variables of other floating types are replaced by copies in float32 meanwhile, since layers read them as they are.
    The model's own are not changed.

    Yields:
        whether anything of the model computes in another type, or is stored in one.
    """
    others = [layer for layer in all_layers(model) if str(layer.compute_dtype) in _OTHERS]
    undo: list[Callable[[], None]] = []
    try:
        for layer in others:
            undo.append(_restoring(_set_policy, layer, layer._dtype_policy))
            _set_policy(layer, "float32")
        undo += _copied_by_keras_2(model) if is_keras_2(model) else _copied_by_keras_3(model)
        yield bool(undo)
    finally:
        for step in reversed(undo):
            step()


def _restoring(function: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
    return lambda: function(*arguments)


def _set_policy(layer: Any, policy: Any) -> None:
    if is_keras_2(layer):
        import tf_keras

        is_name = isinstance(policy, str)
        layer._set_dtype_policy(tf_keras.mixed_precision.Policy(policy) if is_name else policy)
    else:
        layer.dtype_policy = policy


def _copy(variable: Any) -> tf.Variable:
    name = variable.name.partition(":")[0]
    return tf.Variable(tf.cast(variable, tf.float32), trainable=variable.trainable, name=name)


def _copied_by_keras_3(model: Any) -> list[Callable[[], None]]:
    """Lets the variables hold copies; returns what undoes it."""
    undo = []
    for variable in model.variables:
        if str(variable.dtype) in _OTHERS:
            undo.append(_restoring(vars(variable).update, {key: vars(variable)[key] for key in ("_value", "_dtype")}))
            vars(variable).update(_value=_copy(variable._value), _dtype="float32")
    return undo


def _copied_by_keras_2(model: Any) -> list[Callable[[], None]]:
    """Lets the layers hold copies; returns what undoes it."""
    copies: dict[int, tf.Variable] = {}

    def copied(value: Any) -> Any:
        if isinstance(value, tf.Variable) and value.dtype.base_dtype.name in _OTHERS:
            if id(value) not in copies:
                copies[id(value)] = _copy(value)
            return copies[id(value)]
        return value

    undo: list[Callable[[], None]] = []
    for layer in all_layers(model):
        changed = {}
        for key, value in vars(layer).items():
            if isinstance(value, list | tuple):
                new: Any = [copied(one) for one in value]
                if any(one is not other for one, other in zip(new, value, strict=True)):
                    changed[key] = type(value)(new) if isinstance(value, tuple) else new
            elif (new := copied(value)) is not value:
                changed[key] = new
        if changed:
            undo.append(_restoring(vars(layer).update, {key: vars(layer)[key] for key in changed}))
            vars(layer).update(changed)
    return undo
