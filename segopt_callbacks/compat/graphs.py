"""Definitions of graphs: nodes made, copied and put together, and functions made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.compat.inference import traced

_BOUND = ("_gradient_op_type", "_class")


def constant_node(name: str, value: np.ndarray) -> Any:
    """The node of a constant."""
    made = tf.compat.v1.NodeDef(name=name, op="Const")
    made.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return made


def node(kind: str, name: str, inputs: Iterable[str], **attributes: Any) -> Any:
    """The node of an operation whose attributes are dtypes and whole numbers."""
    made = tf.compat.v1.NodeDef(name=name, op=kind, input=list(inputs))
    for key, value in attributes.items():
        if isinstance(value, tf.DType):
            made.attr[key].type = value.as_datatype_enum
        else:
            made.attr[key].i = value
    return made


def copied_node(original: Any) -> Any:
    """A node that can be changed."""
    made = tf.compat.v1.NodeDef()
    made.CopyFrom(original)
    return made


def definition_of(nodes: Iterable[Any], original: Any) -> Any:
    """The definition of a graph of these nodes, with the functions and versions of another."""
    made = tf.compat.v1.GraphDef(node=list(nodes), versions=original.versions)
    made.library.CopyFrom(original.library)
    return made


def evaluated(concrete: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The values of tensors of a function that depend on variables and constants alone.

    Args:
        concrete: a concrete function.
        names: of its tensors.
    """
    if not names:
        return {}
    nodes = _unbound(_needed(concrete.graph.as_graph_def(), names))

    def run() -> list[tf.Tensor]:
        given = _captured(concrete, nodes, {})
        kept = _without(nodes, concrete, given)
        return tf.graph_util.import_graph_def(kept, input_map=given, return_elements=list(names), name="")

    values = traced(run, autograph=False)()
    return {name: value.numpy() for name, value in zip(names, values, strict=True)}


def rebuilt(
    concrete: Any, definition: Any, replaced: Mapping[int, tf.Variable], outputs: Sequence[str]
) -> tuple[Any, set[int]]:
    """A concrete function of another definition, with the inputs and outputs of `concrete`.

    Args:
        concrete: a concrete function of named inputs that returns a dict.
        definition: what it shall compute.
        replaced: id of the handle of a variable that `concrete` reads -> the variable that is read instead.
        outputs: names of its answers, in order.

    Returns:
        the function, and the ids of the variables that it reads.
    """
    answers = concrete.structured_outputs
    elements = [answers[name].name for name in outputs]
    nodes = _unbound(_needed(definition, elements))
    arguments = concrete.inputs[: len(_specs(concrete))]

    def serve(*flat: tf.Tensor) -> dict[str, tf.Tensor]:
        given = {inside.name: outside for inside, outside in zip(arguments, flat, strict=True)}
        given |= _captured(concrete, nodes, replaced)
        kept = _without(nodes, concrete, given)
        found = tf.graph_util.import_graph_def(kept, input_map=given, return_elements=elements, name="")
        return dict(zip(outputs, found, strict=True))

    made = tf.function(serve, input_signature=_specs(concrete), autograph=False).get_concrete_function()
    return made, {id(one) for one in made.graph.variables}


def _specs(concrete: Any) -> list[tf.TensorSpec]:
    positional, named = concrete.structured_input_signature
    return [*positional, *named.values()]


def _captured(concrete: Any, definition: Any, replaced: Mapping[int, tf.Variable]) -> dict[str, tf.Tensor]:
    """What a function captures, as tensors of the current graph, by their names in the function."""
    into: Any = tf.compat.v1.get_default_graph()  # a name with slashes would take the names of what reads it
    present = {one.name for one in definition.node}
    variables = {id(one.handle): one for one in concrete.graph.variables} | dict(replaced)
    given = {}
    for outside, inside in concrete.graph.captures:
        if inside.op.name in present:
            variable = variables.get(id(outside))
            if variable is not None:
                into.watch_variable(variable)
            given[inside.name] = into.capture(
                outside if variable is None else variable.handle, name=inside.op.name.replace("/", "_")
            )
    return given


def _without(definition: Any, concrete: Any, given: Mapping[str, Any]) -> Any:
    """The definition without the nodes that are given, whose names may be taken."""
    names = {name.partition(":")[0] for name in given}
    return definition_of((one for one in definition.node if one.name not in names), definition)


def _needed(definition: Any, elements: Iterable[str]) -> Any:
    """The part of a definition that tensors depend on. Nothing waits for a variable to be read."""
    nodes = {one.name: one for one in definition.node}
    pending = [name.partition(":")[0] for name in elements]
    kept: dict[str, Any] = {}
    while pending:
        name = pending.pop()
        if name in kept:
            continue
        kept[name] = copied_node(nodes[name])
        inputs = [one for one in nodes[name].input if not _is_reading(one, nodes)]
        del kept[name].input[:]
        kept[name].input.extend(inputs)
        pending += [one.lstrip("^").partition(":")[0] for one in inputs]
    return definition_of(
        (one for name, one in ((n.name, kept.get(n.name)) for n in definition.node) if one), definition
    )


def _unbound(definition: Any) -> Any:
    """The definition without what binds it to another graph.

    Gradients of their own, as `swish` has one, cannot be saved; places beside a variable are those of another variable.
    """
    for one in (*definition.node, *(node for function in definition.library.function for node in function.node_def)):
        for name in _BOUND:
            if name in one.attr:
                del one.attr[name]
    return definition


def _is_reading(given: str, nodes: Mapping[str, Any]) -> bool:
    return given.startswith("^") and nodes[given[1:]].op == "ReadVariableOp"
