"""tensorflow-model-optimization: imported here alone, and never before `tf.keras` is resolved."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.compat.models import all_layers
from segopt_callbacks.compat.variables import assign, read

_TFMOT_WRAPPERS = ("PruneLowMagnitude", "ClusterWeights", "ClusterWeightsMHA")


@contextlib.contextmanager
def importing_tfmot() -> Iterator[None]:
    """Keeps TF_USE_LEGACY_KERAS as it is: importing tfmot sets it, which can turn `tf.keras` into Keras 2."""
    before = os.environ.get("TF_USE_LEGACY_KERAS")
    try:
        yield
    finally:
        os.environ.pop("TF_USE_LEGACY_KERAS", None)
        if before is not None:
            os.environ["TF_USE_LEGACY_KERAS"] = before


def tfmot_schedule(name: str) -> type:
    """A schedule class of tfmot's by its name; tfmot is imported only for who asks, and SciPy with it."""
    with importing_tfmot():
        from tensorflow_model_optimization.sparsity import keras as tfmot

    return getattr(tfmot, name)


def is_tfmot_schedule(schedule: Any) -> bool:
    """Whether a schedule consists of tensor operations, as tfmot's do."""
    return any(
        base.__name__ == "PruningSchedule" and base.__module__.startswith("tensorflow_model_optimization.")
        for base in type(schedule).__mro__
    )


def without_wrappers(model: Any) -> Any:
    """The model without the layers that tfmot wraps around others to prune or cluster them, by tfmot's own functions.

    Layers that are not wrapped, and their weights, are shared with the model, which stays as it is.

    Returns:
        the model itself where nothing is wrapped.

    Raises:
        ValueError: if tfmot cannot unwrap it.
    """
    layers = all_layers(model)
    wrapped = [layer.name for layer in layers if type(layer).__name__ in _TFMOT_WRAPPERS]
    if not wrapped:
        return model
    with importing_tfmot():
        from tensorflow_model_optimization.python.core.clustering.keras.cluster import strip_clustering
        from tensorflow_model_optimization.python.core.sparsity.keras.prune import strip_pruning
    # Shared layers are called once more, which each of them remembers.
    calls = [(nodes, list(nodes)) for layer in layers for nodes in (layer._inbound_nodes, layer._outbound_nodes)]
    values = [(variable, read(variable).copy()) for variable in model.variables]  # tfmot assigns clusters anew
    try:
        return strip_clustering(strip_pruning(model))
    except (ValueError, NotImplementedError, TypeError) as error:
        raise ValueError(
            "A model with layers that tfmot has wrapped must be functional or sequential, for tfmot to unwrap them; "
            f"put the layers themselves in their place first. Received: {model.name!r} with {', '.join(wrapped)}."
        ) from error
    finally:
        for nodes, before in calls:
            nodes[:] = before
        for variable, value in values:
            assign(variable, value)


def tfmot_centroids(name: str) -> Callable[[np.ndarray, int, bool], np.ndarray]:
    """The initialisation of centroids that tfmot itself runs.

    Args:
        name: of a member of its `CentroidInitialization`.

    Returns:
        function from `(n,)` float32 weights, a number, and whether zero is one of the values, to as many values.
    """
    with importing_tfmot():
        from tensorflow_model_optimization.python.core.clustering.keras import clustering_centroids

    kind = getattr(clustering_centroids.CentroidInitialization, name)
    make = clustering_centroids.CentroidsInitializerFactory.get_centroid_initializer(kind)

    def choose(weights: np.ndarray, number: int, zero: bool) -> np.ndarray:
        return np.asarray(make(tf.constant(weights), number, preserve_sparsity=zero).get_cluster_centroids())

    return choose
