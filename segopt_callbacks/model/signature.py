"""A built Keras model -> a frozen float32 inference function."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.model.names import input_names, output_names
from segopt_callbacks.model.paths import unique_path
from segopt_callbacks.records import Port


@dataclass(frozen=True)
class Frozen:
    """An inference function with everything it needs, independent of Keras.

    Attributes:
        module: holds the raw variables.
        serve: the traced function; takes inputs by name, returns a dict of outputs by name.
        inputs: in TensorFlow's order of the model's own structure.
        outputs: likewise.
        weights: path -> `tf.Variable`, those that `serve` reads.
    """

    module: tf.Module
    serve: Any
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: dict[str, tf.Variable]


def freeze(model: Any, inputs: Any, *, batch_size: int | None = 1, is_for_tensorflow: bool = False) -> Frozen:
    """Traces the model for inference in float32, on the model's own variables (nothing is copied or changed).

    A model of other types (mixed precision, float16, bfloat16, float64) computes in float32 while it is traced. It does
    so on copies of the variables that it has in such types. If it does not run so, it is traced as it is. Dropout and
    the like are off.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, batch first, as `input_specs` returns it.
        batch_size: the first dimension of every input; `None` leaves it open (10% slower in LiteRT).
        is_for_tensorflow: whether TensorFlow runs it, which knows the functions of its own that layers may hold.

    Returns:
        the function, its variables and names.

    Raises:
        ValueError: if the model is not built.
        FormatError: if it runs eagerly only, or answers with something other than tensors.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> frozen = freeze(model, tf.TensorSpec((None, 4), tf.float32))
        >>> frozen.serve(tf.zeros((1, 4)))["output"].shape
        TensorShape([1, 2])
    """
    require_built(model)
    names = input_names(inputs, compat.given_names(model, "inputs"))
    specs = tuple(
        tf.TensorSpec((batch_size, *spec.shape[1:]), spec.dtype, name=name)
        for name, spec in zip(names, tf.nest.flatten(inputs), strict=True)
    )
    answer_names: list[str] = []

    def serve(*flat: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = compat.infer(model, tf.nest.pack_sequence_as(inputs, list(flat)))
        answer_names[:] = output_names(outputs, compat.given_names(model, "outputs"), taken=names)
        return dict(zip(answer_names, map(_float32, tf.nest.flatten(outputs)), strict=True))

    # As `fit` runs it: Keras 2 rewrites Python's `if` and `for` over tensors, Keras 3 does not.
    function = tf.function(serve, input_signature=specs, autograph=compat.is_keras_2(model))
    recurrence = contextlib.nullcontext() if is_for_tensorflow else compat.plain_recurrence(model)
    try:
        with compat.integer_forms(every=False), recurrence:
            concrete, weights = _traced(model, function)
    except compat.converter_errors() as error:
        raise FormatError(f"the model does not run as a graph: {first_line(error)}") from error
    module = tf.Module()
    module.weights = weights
    # Tables and the like: what a SavedModel is not told of it cannot save.
    module.resources = compat.captured_resources(concrete)
    answers = concrete.structured_outputs
    outputs = tuple(_port(name, answers[name]) for name in answer_names)
    return Frozen(module, concrete, tuple(_port(spec.name, spec) for spec in specs), outputs, weights)


def _traced(model: Any, function: Any) -> tuple[Any, dict[str, tf.Variable]]:
    """The concrete function and its variables by path; in float32 where the model runs so, else as it is."""
    with compat.float32_compute(model) as is_changed:
        try:
            concrete = function.get_concrete_function()
            return concrete, _named_variables(model, concrete)
        except compat.converter_errors():
            if not is_changed:
                raise
    concrete = function.get_concrete_function()
    return concrete, _named_variables(model, concrete)


def save(frozen: Frozen, folder: Path) -> None:
    """Writes the function as a SavedModel: its variables once, no Keras.

    Raises:
        FormatError: if TensorFlow cannot save the graph.
    """
    try:
        tf.saved_model.save(frozen.module, str(folder), signatures=frozen.serve)
    except compat.converter_errors() as error:
        untracked = re.search(r"untracked.*Captured Tensor = ([^\n]+)", str(error), re.DOTALL)
        why = f"it uses a resource that is no variable and no lookup table, {untracked[1]}" if untracked else ""
        raise FormatError(f"TensorFlow cannot save the model: {why or first_line(error)}") from error


def input_specs(model: Any, example: Any = None) -> Any:
    """What the frozen function takes: shapes and dtypes of `example`, or of the model's own account.

    Args:
        model: a built Keras model.
        example: one example of the data, batch first, as arrays; its dtype stays (uint8 images stay uint8).

    Returns:
        structure of `tf.TensorSpec`, batch first, every other size known.

    Raises:
        ValueError: if neither says all sizes.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> input_specs(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        TensorSpec(shape=(None, 4), dtype=tf.float32, name=None)
    """
    require_built(model)
    specs = compat.model_input_specs(model) if example is None else example
    if specs is not None:
        specs = tf.nest.map_structure(_open_batch, specs)
    if specs is None or any(None in spec.shape[1:].as_list() for spec in tf.nest.flatten(specs)):
        raise ValueError(
            "A model must say the sizes of its input to be exported; pass `evaluation_data` or "
            f"`representative_dataset`, whose sizes are taken. Received: {model.name!r} with input {specs}."
        )
    return specs


def require_model(model: Any) -> None:
    """Raises for what is no model.

    Raises:
        ValueError: unless it is a model of either Keras.

    >>> require_model("model.keras")
    Traceback (most recent call last):
    ValueError: `model` must be a Keras model; load it by keras.models.load_model(...). Received: model='model.keras'.
    """
    if not compat.is_model(model):
        is_path, is_class = isinstance(model, str | os.PathLike), isinstance(model, type)
        remedy = "load it by keras.models.load_model(...)" if is_path else "pass one, built"
        shown = repr(os.fspath(model)) if is_path else repr(model) if is_class else type(model).__name__
        raise ValueError(f"`model` must be a Keras model; {remedy}. Received: model={shown}.")


def require_built(model: Any) -> None:
    """Raises unless the model has its weights.

    Raises:
        ValueError: if the model is not built, or is none.
        ImportError: if its version of Keras is not known.
    """
    require_model(model)
    compat.require_known_keras(model)
    if not compat.has_weights(model):
        raise ValueError(
            "A model must be built to be exported; fit it, or call it on data first. "
            f"Received: {model.name!r}, not built."
        )


def _port(name: str, spec: tf.TensorSpec) -> Port:
    shape = spec.shape.as_list() if spec.shape.rank is not None else []
    return Port(name, tuple(shape), spec.dtype.name)


def _open_batch(leaf: Any) -> tf.TensorSpec:
    dtype = tf.as_dtype(leaf.dtype)
    return tf.TensorSpec((None, *leaf.shape[1:]), tf.float32 if dtype.is_floating else dtype)


def _float32(output: Any) -> tf.Tensor:
    output = tf.convert_to_tensor(output)
    return tf.cast(output, tf.float32) if output.dtype in (tf.float16, tf.bfloat16, tf.float64) else tf.identity(output)


def _named_variables(model: Any, concrete: Any) -> dict[str, tf.Variable]:
    paths = {id(compat.raw_variable(one)): compat.variable_path(one) for one in model.variables}
    named: dict[str, tf.Variable] = {}
    # In the model's order; a variable that Keras does not list comes last, under its own name.
    order = {key: index for index, key in enumerate(paths)}
    for variable in sorted(concrete.graph.variables, key=lambda one: order.get(id(one), len(order))):
        path = paths.get(id(variable), variable.name.partition(":")[0])
        named[unique_path(path, named)] = variable
    return named


def value(variable: tf.Variable) -> np.ndarray:
    """What a variable holds now, not to be written to; on a CPU it is not copied unless the variable changes."""
    return np.asarray(variable.read_value())


def nonfinite_weights(frozen: Frozen) -> list[str]:
    """Paths of the weights that hold NaN or infinity."""
    return [
        path
        for path, variable in frozen.weights.items()
        if variable.dtype.is_floating and not np.isfinite(value(variable)).all()
    ]
