"""A model's inference function, as a graph."""

from __future__ import annotations

import contextlib
import gc
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.compat.kerases import is_keras_2
from segopt_callbacks.compat.models import all_layers
from segopt_callbacks.compat.variables import assign, read
from segopt_callbacks.errors import first_line

LOOK_UPS = ("Gather", "GatherV2", "GatherNd", "ResourceGather", "ResourceGatherNd")
_WITH_FUNCTIONS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile")


def infer(model: Any, inputs: Any) -> Any:
    """Runs the model for inference, whether or not its `call` knows the argument `training`."""
    parameters = inspect.signature(model.call).parameters.values()
    knows = any(one.name == "training" or one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
    return model(inputs, training=False) if knows else model(inputs)


def traced(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`tf.function(function, **options)` for one model among many.

    TensorFlow counts what is traced by the code, and warns of "5 out of the last 5 calls" when the same line traces a
    model for each of five fits. Traced by itself, a function is not counted.

    Example:
        >>> int(traced(lambda x: 2 * x)(tf.constant(3)))
        6
    """
    made = tf.function(function, **options)
    return lambda *arguments: made.get_concrete_function(*arguments)(*arguments)


def inference_graph(model: Any, inputs: Any) -> tuple[tf.Graph, list[tf.Tensor], list[tuple[tf.Tensor, tf.Tensor]]]:
    """Traces the model for inference.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`.

    Returns:
        the graph, the tensors in it that are the inputs, and pairs of each handle of a variable and its tensor in it.

    Raises:
        ValueError: if the model does not run as a graph.
    """

    def run(*flat: tf.Tensor) -> Any:
        return infer(model, tf.nest.pack_sequence_as(inputs, list(flat)))

    flat = tf.nest.flatten(inputs)
    try:
        concrete = tf.function(run, autograph=is_keras_2(model)).get_concrete_function(*flat)
    except converter_errors() as error:
        raise ValueError(
            "The model's graph tells the channels of its layers, and where BatchNormalization follows; the model must "
            f"run as one (without run_eagerly). Received: {model.name!r}, which raises: {first_line(error)}"
        ) from error
    return concrete.graph, list(concrete.inputs[: len(flat)]), concrete.graph.captures


def needed_operations(graph: Any) -> set[str]:
    """Names of the operations that the outputs of a function's graph depend on.

    A graph also has what `call` computes and nobody asks for: the second output of a nested model, a head for training.
    """
    needed: set[str] = set()
    pending = [one.op for one in graph.outputs]
    while pending:
        operation = pending.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            pending += [one.op for one in operation.inputs]
            # Answers wait for every reading of a variable, whoever asks for it.
            pending += [one for one in operation.control_inputs if one.type != "ReadVariableOp"]
    return needed


def captured_resources(concrete: Any) -> list[Any]:
    """Objects whose resources a concrete function uses and that are no variables: lookup tables and the like."""
    known = {id(one.handle) for one in concrete.graph.variables}
    handles = {id(one) for one, _ in concrete.graph.captures if one.dtype == tf.resource and id(one) not in known}
    if not handles:
        return []
    # Nothing leads from a handle to its object, which a layer may have anywhere: in a list, in an object of its own.
    kind = tf.saved_model.experimental.TrackableResource
    return [one for one in gc.get_objects() if issubclass(type(one), kind) and id(one.resource_handle) in handles]


def function_inputs(call: tf.Operation) -> list[tf.Tensor]:
    """The inputs of the function that the operation `call` calls, as tensors inside it."""
    return list(call.graph._get_function(call.get_attr("f").name).graph.inputs)


def inner_inputs(operation: tf.Operation, index: int) -> list[tf.Tensor]:
    """What input `index` of an operation is inside the functions that it calls or repeats; empty if it has none."""
    names = ("f", "body") if operation.type in _WITH_FUNCTIONS else ()
    known = [name for name in names if name in operation.node_def.attr]
    functions = [operation.graph._get_function(operation.get_attr(name).name) for name in known]
    return [one.graph.inputs[index] for one in functions if one is not None]


def function_kinds(call: tf.Operation) -> set[str]:
    """Types of the operations inside the function that the operation `call` calls."""
    return {one.type for one in call.graph._get_function(call.get_attr("f").name).graph.get_operations()}


def operation_kinds(model: Any, inputs: Any) -> set[str]:
    """Types of all operations of the model's inference, those inside functions too.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`.

    Raises:
        ValueError: if the model does not run as a graph.
    """
    definition = inference_graph(model, inputs)[0].as_graph_def()
    inner = [node.op for function in definition.library.function for node in function.node_def]
    return {node.op for node in definition.node} | set(inner)


@contextlib.contextmanager
def kept_state(model: Any) -> Iterator[None]:
    """Puts back what inference changes in a model: states of recurrent layers, seeds, counters."""
    variables = {id(one): one for one in model.variables if not one.trainable}
    for layer in all_layers(model):  # Keras 2 does not list the states of its recurrent layers
        states = tf.nest.flatten(getattr(layer, "states", None) or [])
        variables |= {id(one): one for one in states if isinstance(one, tf.Variable)}
    before = [(one, read(one).copy()) for one in variables.values()]
    try:
        yield
    finally:
        for variable, value in before:
            if not np.array_equal(read(variable), value):
                assign(variable, value)


def converter_errors() -> tuple[type[Exception], ...]:
    """What LiteRT's converter raises when it refuses a model, and what saving a graph and tracing one raise."""
    from tensorflow.lite.python.convert_phase import ConverterError

    python_errors = (ValueError, RuntimeError, TypeError, AttributeError, NotImplementedError, AssertionError)
    return (ConverterError, tf.errors.OpError, *python_errors)
