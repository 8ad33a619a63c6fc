"""Who teaches: the model as it is when training begins, another model, or a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat

Teacher = Callable[[Any], Any]


def own_inference(model: Any, inputs: Any) -> Teacher:
    """The model's inference as it is now.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, what it is fed.

    Raises:
        ValueError: for a model that has never trained, or does not run as a graph.
    """
    if has_never_trained(model):
        raise ValueError(
            "A model teaches itself what it has learned before; train it first, or pass a trained one as `teacher`. "
            f"Received: teacher=None, and {model.name!r} with every bias and scale as it was initialized."
        )
    try:
        return compat.frozen_inference(model, inputs)
    except ValueError as error:
        raise ValueError(
            "A model teaches itself by its inference graph; it must run as one, or pass a copy of it as `teacher`. "
            f"Received: teacher=None, and {model.name!r}, for which: {error}"
        ) from error


def has_never_trained(model: Any) -> bool:
    """Whether every bias, scale and shift that trains has one value still, as at initialization.

    Says nothing (`False`) of a model without any.
    """
    vectors = [one for one in model.trainable_weights if len(one.shape) == 1 and one.shape[0]]
    return bool(vectors) and all(map(_is_fresh, vectors))


def _is_fresh(variable: Any) -> bool:
    values = np.unique(compat.read(variable))
    is_constant = len(values) == 1 and variable.shape[0] > 1
    return is_constant or bool(np.isin(values, (0.0, 1.0)).all())  # an LSTM's bias has both


def as_teacher(teacher: Any, model: Any) -> Teacher:
    """Makes a function of inputs out of a model; a function is one.

    Args:
        teacher: a built model of either Keras, or a function.
        model: the student.

    Raises:
        ValueError: if both share weights, which training would change in the teacher too.
    """
    if not compat.is_model(teacher):
        return teacher
    own = {compat.identity(one) for one in model.variables}
    if shared := [compat.variable_path(one) for one in teacher.variables if compat.identity(one) in own]:
        raise ValueError(
            "A teacher must keep its weights while its student trains; pass a copy of it, or teacher=None for the "
            f"model's own weights of now. Received: {teacher.name!r}, which shares {shared[0]!r} with the student."
        )
    return lambda inputs: compat.infer(teacher, inputs)


def ask(teacher: Teacher, inputs: Any) -> Any:
    """A teacher's answers, of which no gradient is taken.

    No tape follows into the teacher, so that what it computes on its way is not kept.
    """
    return tf.nest.map_structure(_untaught, teacher(tf.nest.map_structure(_untaught, inputs, expand_composites=True)))


def _untaught(one: Any) -> Any:
    return None if one is None else tf.stop_gradient(tf.convert_to_tensor(one))
