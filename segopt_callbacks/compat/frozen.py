"""A model's inference as it is now, whatever becomes of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from segopt_callbacks.compat.inference import inference_graph, traced
from segopt_callbacks.compat.models import all_layers
from segopt_callbacks.compat.strategies import strategy_scope
from segopt_callbacks.compat.variables import handle_of, read


def frozen_inference(model: Any, inputs: Any) -> Callable[[Any], Any]:
    """The model's inference on a copy of its weights; nothing of it is part of the model.

    No layer is cloned, which a subclassed model may not allow: the inference graph is traced once, and reads copies of
    its variables. Lookup tables are shared with the model.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, what it will be asked about.

    Returns:
        inputs -> the model's answers; runs eagerly and in graphs, on every replica of the model's strategy.

    Raises:
        ValueError: if the model does not run as a graph.
    """
    graph, placeholders, captures = inference_graph(model, inputs)
    copies, shared = _copies(model, graph, captures)
    names = [one.name for one in placeholders]
    specs = tf.nest.flatten(inputs)
    answers = graph.structured_outputs
    wanted = [one.name for one in tf.nest.flatten(answers)]
    definition = graph.as_graph_def()

    def answer(*flat: tf.Tensor) -> list[tf.Tensor]:
        into: Any = tf.compat.v1.get_default_graph()
        given = dict(zip(names, flat, strict=True))
        given |= {name: into.capture(copy.handle) for name, copy in copies.items()}
        given |= {name: into.capture(value) for name, value in shared.items()}
        return tf.graph_util.import_graph_def(definition, input_map=given, return_elements=wanted, name="frozen")

    run = traced(answer, autograph=False, reduce_retracing=True)

    def infer_frozen(given: Any) -> Any:
        flat = tf.nest.flatten(given)
        if len(flat) != len(specs) or not all(map(_is_alike, specs, flat)):
            raise ValueError(
                "A teacher that is the model itself answers inputs of one shape and dtype, those of the first batch; "
                "feed batches of one shape, or pass a model as `teacher`. "
                f"Received: {[(one.shape, one.dtype.name) for one in flat]} after {specs}."
            )
        return tf.nest.pack_sequence_as(answers, run(*flat))

    return infer_frozen


def _is_alike(spec: tf.TensorSpec, tensor: Any) -> bool:
    return spec.dtype == tensor.dtype and spec.shape.is_compatible_with(tensor.shape)


def _copies(model: Any, graph: Any, captures: Any) -> tuple[dict[str, tf.Variable], dict[str, Any]]:
    """What a graph has captured, by the names in it: copies of variables, and all else as it is."""
    owned = [one for layer in all_layers(model) for one in getattr(layer, "variables", ())]
    known = {id(handle_of(one)): one for one in [*owned, *graph.variables]}
    copies, shared = {}, {}
    with strategy_scope(model):
        for handle, inner in captures:
            if id(handle) in known:
                # A copy of the memory: NumPy's view of it would be shared.
                copies[inner.name] = tf.Variable(read(known[id(handle)]).copy(), trainable=False)
            else:
                shared[inner.name] = handle
    return copies, shared
