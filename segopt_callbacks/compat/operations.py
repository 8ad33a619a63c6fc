"""Operations, watched and replaced while a model is traced."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import tensorflow as tf
from tensorflow.python.autograph.impl.api import autograph_artifact
from tensorflow.python.eager import execute
from tensorflow.python.framework import op_def_library

from segopt_callbacks.compat.kerases import is_keras_2
from segopt_callbacks.compat.models import batch_norms

_watched = threading.local()
_add_operation = op_def_library._apply_op_helper


class OperationHook(Protocol):
    """What looks at, and changes, the operations that are added to graphs."""

    def before(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments that an operation of this kind shall get, by name; called before it is made."""

    def after(self, operation: tf.Operation) -> None:
        """Called when an operation has been made."""


@contextlib.contextmanager
def watched_operations(hook: OperationHook) -> Iterator[None]:
    """Lets `hook` look at all operations that this thread adds to graphs meanwhile, but those that it adds itself.

    A replaced argument is the operation's own input: gradients are taken of it. Operations that run eagerly, and
    those of a `tf.function` that was traced before, are not seen.
    """
    op_def_library._apply_op_helper = _add_watched_operation
    before = getattr(_watched, "hook", None)
    _watched.hook = hook
    try:
        yield
    finally:
        _watched.hook = before


@contextlib.contextmanager
def integer_forms(*, every: bool = True) -> Iterator[None]:
    """Lets this thread trace negations and squares as products, which converters know in integers; for inference.

    A product with -1, and one of a number with itself, are equal to them to the bit. A tape would look for another
    gradient than that of a product, so what a tape records stays as it is.

    Args:
        every: whether all of them; else negations alone that a sum or a product reads. Converters make one operation of
            a PReLU, of a GELU and of a norm, which they know by their negation or square.
    """
    op_def_library._apply_op_helper = _add_watched_operation
    before = getattr(_watched, "products", None)
    _watched.products = before or ("every" if every else "read")
    try:
        yield
    finally:
        _watched.products = before


def _add_watched_operation(kind: str, name: str | None = None, **arguments: Any) -> Any:
    hook, products = getattr(_watched, "hook", None), getattr(_watched, "products", None)
    if hook is None and products is None:
        return _add_operation(kind, name=name, **arguments)
    _watched.hook, _watched.products = None, None
    try:
        if products and not execute.must_record_gradient() and "Gelu" not in current_scope():
            kind, name, arguments = _in_integers(products, kind, name, arguments)
        arguments = hook.before(kind, arguments) if hook else arguments
        result = _add_operation(kind, name=name, **arguments)
        if hook:
            hook.after(result[2])
    finally:
        _watched.hook, _watched.products = hook, products
    return result


def _in_integers(
    products: str, kind: str, name: str | None, arguments: dict[str, Any]
) -> tuple[str, str | None, dict[str, Any]]:
    if products == "read":
        is_reader = kind in ("Mul", "Add", "AddV2", "Sub")
        return kind, name, {key: _positive(value) if is_reader else value for key, value in arguments.items()}
    if kind not in ("Neg", "Square"):
        return kind, name, arguments
    value = tf.convert_to_tensor(arguments["x"])
    if not value.dtype.is_floating:
        return kind, name, arguments
    other = value if kind == "Square" else tf.constant(-1, value.dtype)
    return "Mul", name or kind, {"x": value, "y": other}


def _positive(value: Any) -> Any:
    """A negation as a product; everything else as it is."""
    is_negation = tf.is_tensor(value) and hasattr(value, "op") and value.dtype.is_floating and value.op.type == "Neg"
    return value.op.inputs[0] * tf.constant(-1, value.dtype) if is_negation else value


def around_call(layer: Any, wrapper: Callable[..., Any]) -> Callable[[], None]:
    """Runs `wrapper(call, *arguments, **options)` in place of a layer's or model's `call`, see `around_method`."""
    return around_method(layer, "call", wrapper)


def freeze_statistics(layer: Any, is_frozen: Callable[[], bool]) -> Callable[[], None]:
    """Lets a BatchNormalization compute with its moving statistics in training too, and keep them.

    Args:
        layer: the layer.
        is_frozen: asked whenever it is traced.

    Returns:
        what puts the layer's `call` back.
    """

    def normalize(call: Callable[..., Any], inputs: Any, *arguments: Any, **options: Any) -> Any:
        if not is_frozen():
            return call(inputs, *arguments, **options)
        return call(inputs, **options | {"training": False})

    return around_call(layer, normalize)


def around_method(owner: Any, name: str, wrapper: Callable[..., Any]) -> Callable[[], None]:
    """Runs `wrapper(method, *arguments, **options)` in place of a method of one layer or model.

    Returns:
        what puts the method back.
    """
    original = getattr(owner, name)

    @functools.wraps(original)
    def method(*arguments: Any, **options: Any) -> Any:
        inner = original
        if is_keras_2(owner) and not tf.executing_eagerly():
            # Keras 2 rewrites Python's `if` and `for` over tensors, and does not look through the wrapper.
            inner = tf.__internal__.autograph.tf_convert(original, tf.__internal__.autograph.control_status_ctx())
        return wrapper(inner, *arguments, **options)

    before = vars(owner).get(name)
    # Not `do_not_convert`, which would switch AutoGraph off for all that the method calls.
    vars(owner)[name] = autograph_artifact(method)

    def undo() -> None:
        if before is None:
            vars(owner).pop(name, None)
        else:
            vars(owner)[name] = before

    return undo


def current_scope() -> str:
    """The name scope that operations are added to, such as `unet_1`; empty outside of any."""
    return tf.get_current_name_scope()


def current_graph() -> tf.Graph:
    """The graph that operations are added to."""
    return tf.compat.v1.get_default_graph()


def functions_of_their_own(model: Any) -> dict[Any, str]:
    """Layers that convolve in a `tf.function` of theirs, which is traced once: layer -> name of that method.

    Grouped convolutions of Keras 2.
    """
    layers = model._flatten_layers(include_self=False, recursive=True)
    return {
        layer: "_jit_compiled_convolution_op"
        for layer in layers
        if is_keras_2(layer) and getattr(layer, "groups", 1) > 1 and hasattr(layer, "_jit_compiled_convolution_op")
    }


def unfuse(model: Any) -> Callable[[], None]:
    """Makes BatchNormalization of Keras 2 multiply and add, as Keras 3 does, instead of one operation for all of it.

    Returns:
        what puts that back.
    """
    fused = [layer for layer in batch_norms(model) if is_keras_2(model) and getattr(layer, "fused", False)]
    for layer in fused:
        layer.fused = False

    def undo() -> None:
        for layer in fused:
            layer.fused = True

    return undo
