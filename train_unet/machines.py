"""The devices and processes that one model trains on. TensorFlow is imported only to make a strategy."""

from __future__ import annotations

import importlib.util
import json
import os
from typing import Any

from flags import FlagError


def choose_keras(strategy: str, began_with: int | None = None) -> int:
    """Makes this process use the Keras that it has to, and says so; before TensorFlow is imported.

    Args:
        strategy: a name of `flags.machines.STRATEGIES`.
        began_with: the Keras of the run that goes on; `None` for a new run.

    Returns:
        2 or 3.

    Raises:
        FlagError: if Keras 2 is needed, and not installed, or not what the run began with.
    """
    found = 2 if os.environ.get("TF_USE_LEGACY_KERAS") == "1" else 3
    needed = began_with or found
    if strategy == "multi_worker":
        if began_with == 3:
            raise FlagError(
                "--strategy=multi_worker trains with Keras 2, and a run goes on with the Keras that it began with; "
                "choose another --output_dir, or leave --strategy out. Received: a run of Keras 3."
            )
        needed = 2
        if importlib.util.find_spec("tf_keras") is None:
            raise FlagError("--strategy=multi_worker trains with Keras 2; pip install tf_keras. Received: no tf_keras.")
    if needed != found:
        os.environ["TF_USE_LEGACY_KERAS"] = "1" if needed == 2 else "0"
        why = "the run began with it" if began_with else "the fit of Keras 3 fails under --strategy=multi_worker"
        print(f"Training with Keras {needed}{' (tf_keras)' * (needed == 2)}: {why}.")
    return needed


def is_chief(strategy: str) -> bool:
    """Whether this process writes files: the only one, or the chief of `TF_CONFIG`, which is worker 0 if none is named.

    Raises:
        FlagError: if several workers are to train, and `TF_CONFIG` does not say which.
    """
    if strategy != "multi_worker":
        return True
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        cluster, kind, index = config["cluster"], config["task"]["type"], int(config["task"]["index"])
        if not cluster[kind][index]:
            raise KeyError(kind)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise FlagError(
            "--strategy=multi_worker needs TF_CONFIG with the addresses of all workers and the place of this one; see "
            f"docs/machines.md. Received: TF_CONFIG={text or 'nothing'}."
        ) from error
    return bool(kind == "chief" or (kind == "worker" and index == 0 and "chief" not in cluster))


def make_strategy(name: str) -> Any:
    """The `tf.distribute` strategy of a name of `flags.machines.STRATEGIES`; before TensorFlow computes anything."""
    import tensorflow as tf

    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if name == "mirrored":
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def require_divisible(batch_size: int, strategy: Any) -> None:
    """Raises unless every replica gets the same number of images of each batch.

    Raises:
        FlagError: if it does not.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise FlagError(
            f"--batch_size is split among {replicas} replicas, and must be a multiple of {replicas}. "
            f"Received: --batch_size={batch_size}."
        )
