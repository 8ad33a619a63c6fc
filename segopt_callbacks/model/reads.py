"""Which weights inference reads, from its graph."""

from __future__ import annotations

from typing import Any

from segopt_callbacks import compat


def unread(model: Any, inputs: Any, weights: dict[str, Any]) -> set[str] | None:
    """The weights that inference never reads: a teacher's, a discriminator's, those of a head for training alone.

    Those of an output that nobody asks a nested model for are among them.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec` that the model takes; `None` where that is not known.
        weights: path -> variable.

    Returns:
        paths; `None` where it cannot be known, since the model does not run as a graph on such inputs.

    >>> from segopt_callbacks.compat import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="a")])
    >>> unread(model, compat.model_input_specs(model), {"a/kernel": model.weights[0]})
    set()
    """
    if not weights or compat.is_made_of_layers(model):
        return set()  # each layer stands between an input and an output
    if inputs is None:
        return None
    try:
        graph, _, captures = compat.inference_graph(model, inputs)
    except (ValueError, LookupError):  # the fit's data are not what `call` takes, or it is no graph
        return None
    needed = compat.needed_operations(graph)
    read = {id(handle) for handle, inside in captures if any(one.name in needed for one in inside.consumers())}
    never = {path for path, weight in weights.items() if id(compat.handle_of(weight)) not in read}
    return None if len(never) == len(weights) and not read else never
