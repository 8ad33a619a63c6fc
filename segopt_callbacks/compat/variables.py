"""Variables of either Keras: read, assigned, constrained."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

Variable = Any  # keras.Variable (Keras 3) or tf.Variable (Keras 2)
Constraint = Callable[[Any], Any]


def variable_path(variable: Variable) -> str:
    """The variable's name with its layers', such as `unet/encoder/conv/kernel`."""
    return getattr(variable, "path", None) or variable.name.partition(":")[0]


def raw_variable(variable: Variable) -> tf.Variable:
    """The `tf.Variable` behind a Keras variable: no autocast, and the first replica's under a strategy."""
    if hasattr(variable, "path") and hasattr(variable, "value") and not isinstance(variable, tf.Variable):
        variable = variable.value  # Keras 3
    variable = getattr(variable, "_variable", variable)  # Keras 2: AutoCastVariable
    return getattr(variable, "_primary", variable)  # MirroredVariable


def handle_of(value: Any) -> Any | None:
    """The resource that a variable's operations read; `None` for what is no variable."""
    is_variable = isinstance(value, tf.Variable) or (hasattr(value, "path") and hasattr(value, "value"))
    return raw_variable(value).handle if is_variable else None


def identity(variable: Variable) -> int:
    """What is equal for two handles of one variable."""
    return id(raw_variable(variable))


def read(variable: Variable) -> np.ndarray:
    """The variable's value now, read-only: TensorFlow's own memory, which later assignments leave as it is."""
    return np.asarray(raw_variable(variable).read_value())


def read_statistic(variable: Variable) -> np.ndarray:
    """The value of a moving statistic, of which each replica, on every worker, may have its own: their mean."""
    held = variable.value if hasattr(variable, "path") and not isinstance(variable, tf.Variable) else variable
    return np.asarray(getattr(held, "_variable", held).read_value())


def assign(variable: Variable, value: Any) -> None:
    """Sets the variable, on every replica. `value`: same shape; cast to the variable's dtype."""
    if _is_keras_3(variable):
        variable.assign(value)
        return
    target: Any = getattr(variable, "_variable", variable)
    target.assign(tf.cast(value, target.dtype))


def get_constraint(variable: Variable) -> Constraint | None:
    """The projection that the optimizer applies to `variable` after each update."""
    return variable.constraint


def set_constraint(variable: Variable, constraint: Constraint | None) -> None:
    """Makes the optimizer apply `constraint` to `variable` after each update."""
    if _is_keras_3(variable):
        variable.constraint = constraint
    else:
        raw_variable(variable)._constraint = constraint


def as_constraint(variable: Variable, projection: Constraint) -> Constraint:
    """The projection as `variable` takes it: before Keras 3.15, an instance of Keras' own class."""
    return _projected()(projection) if _is_keras_3(variable) else projection


def _is_keras_3(variable: Variable) -> bool:
    return hasattr(variable, "path") and not isinstance(variable, tf.Variable)


@functools.cache
def _projected() -> type:
    import keras as keras_3

    class Projected(keras_3.constraints.Constraint):
        """A function that Keras calls as one of its own constraints."""

        def __init__(self, projection: Constraint) -> None:
            self.projection = projection

        def __call__(self, w: Any) -> Any:
            return self.projection(w)

    return Projected
