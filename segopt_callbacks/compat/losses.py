"""The loss of a training step, where either Keras computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from segopt_callbacks.compat.kerases import is_keras_2

ARGUMENTS_OF_COMPUTE_LOSS = ("x", "y", "y_pred", "sample_weight", "training")


def changed_loss(model: Any, compute: Callable[[], Any], change: Callable[[Any, float], Any]) -> Any:
    """The loss that a step goes on with, and that its log shows as `loss`.

    Keras 3 logs what `compute_loss` returns. Keras 2 takes its loss down before it returns it, so it is told the
    changed one here.

    Args:
        model: in a training step.
        compute: its own loss; `None` where it has none.
        change: loss, what a mean over one replica's examples counts in it, in (0, 1] -> changed loss.

    Returns:
        the changed loss, as the optimizer needs it: the gradients of all replicas are summed.
    """
    share = _share_of_a_replica(model)
    container = getattr(model, "compiled_loss", None) if is_keras_2(model) else None
    if container is None:
        return change(compute(), share)
    logged, noted = container._total_loss_mean, _Noted()
    container._total_loss_mean = noted
    try:
        own = compute()
    finally:
        container._total_loss_mean = logged
    if noted.is_told:
        logged.update_state(change(noted.value, 1.0), sample_weight=noted.examples)
    return change(own, share)


class _Noted:
    """Takes down what a metric would be told."""

    def __init__(self) -> None:
        self.is_told = False
        self.value: Any = None
        self.examples: Any = None

    def update_state(self, value: Any, sample_weight: Any = None) -> None:
        """Notes one value: a step has one loss."""
        self.is_told, self.value, self.examples = True, value, sample_weight


def _share_of_a_replica(model: Any) -> float:
    """Keras divides the means of its losses by the number of replicas; Keras 3 does so from 3.8 on."""
    if not is_keras_2(model):
        from keras.src.losses import loss

        if not hasattr(loss, "scale_loss_for_distribution"):
            return 1.0
    return 1.0 / int(tf.distribute.get_strategy().num_replicas_in_sync)


def is_traced_by_itself(method: Any) -> bool:
    """Whether a method is a `tf.function`, which keeps what it was traced with."""
    return hasattr(method, "get_concrete_function")


def mask_of(answers: Any) -> Any:
    """bool, which positions of a tensor count, where a layer with a Keras mask has made it; else `None`."""
    return getattr(answers, "_keras_mask", None)
