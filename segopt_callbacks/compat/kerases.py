"""Which Keras: `tf.keras` as the process resolves it, and the one that a model belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import tensorflow as tf

from segopt_callbacks.compat.private import require

if TYPE_CHECKING:
    import keras as keras_3
    import tf_keras

    Model: TypeAlias = keras_3.Model | tf_keras.Model
else:
    Model = Any  # neither Keras is imported for a name

keras = tf.keras

require("tensorflow")
# tf.keras is resolved at the first attribute; do that before anything imports tfmot, which sets TF_USE_LEGACY_KERAS.
require(keras.Model.__module__.partition(".")[0])


def is_keras_2(model: Any) -> bool:
    """Whether `model` (or any Keras object) belongs to `tf_keras`."""
    return any(base.__module__.partition(".")[0] == "tf_keras" for base in type(model).__mro__)


def require_known_keras(model: Any) -> None:
    """Raises unless the model's Keras is known, which need not be `tf.keras`.

    Raises:
        ImportError: if its version lacks what is used of it.
    """
    require("tf_keras" if is_keras_2(model) else "keras")


def require_tensorflow_backend(model: Any) -> None:
    """Raises unless the model computes with TensorFlow, and its Keras is known.

    Raises:
        ImportError: if its version of Keras lacks what is used of it.
        RuntimeError: if Keras 3 runs on another backend, where no constraint reaches the compiled step.
    """
    require_known_keras(model)
    if is_keras_2(model):
        return
    import keras as keras_3

    if keras_3.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Compression callbacks need Keras to run on TensorFlow; set KERAS_BACKEND=tensorflow before Keras is "
            f"imported. Received: backend={keras_3.backend.backend()!r}."
        )


def require_one_process(model_or_callback: Any) -> None:
    """Raises where Keras 3 is to train across processes, which it cannot; Keras 2 can.

    Keras 3 fails before it tells any callback about its model, so callbacks ask about themselves when they are made.

    Raises:
        RuntimeError: under a strategy of several workers.
    """
    if number_of_workers() > 1 and not is_keras_2(model_or_callback):
        raise RuntimeError(
            "MultiWorkerMirroredStrategy must train with Keras 2, since the fit of Keras 3 fails under it; set "
            "TF_USE_LEGACY_KERAS=1 before TensorFlow is imported, or use MirroredStrategy on one machine. "
            f"Received: Keras 3 and {number_of_workers()} workers."
        )


def number_of_workers() -> int:
    """Processes that the strategies of this one train with, itself among them."""
    from tensorflow.python.eager import context

    server = context.context()._collective_ops_server_def
    return 1 if server is None else sum(len(job.tasks) for job in server.cluster.job)
