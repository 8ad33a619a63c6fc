"""Losses and metrics of semantic segmentation that leave one class out.

Masks hold class ids, `(batch, height, width)`; predictions are logits, `(batch, height, width, classes)`. The ignored
id may be any number, one that no logit stands for included: its pixels count neither in a loss nor in a metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from segopt_callbacks.compat import keras

Weights = Sequence[float] | None  # of classes, by id; `None` for 1


def cross_entropy(
    masks: tf.Tensor, logits: tf.Tensor, ignore_class: int | None = None, class_weights: Weights = None
) -> tf.Tensor:
    """Mean cross-entropy over the labelled pixels of a batch.

    Args:
        masks: `(batch, height, width)`, class ids.
        logits: `(batch, height, width, classes)`.
        ignore_class: id of the pixels to leave out.
        class_weights: weight of each true class's pixels in the mean.

    Returns:
        scalar in nats; 0 for a batch without a labelled pixel.

    >>> round(float(cross_entropy(tf.constant([[[0, 9]]]), tf.zeros((1, 1, 2, 4)), ignore_class=9)), 4)
    1.3863
    """
    labelled, ids = _labelled(masks, ignore_class)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, tf.cast(logits, tf.float32))
    if class_weights is not None:
        labelled = labelled * tf.gather(tf.constant(class_weights, tf.float32), ids)
    total = tf.reduce_sum(labelled)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * labelled), total)


def soft_dice(
    masks: tf.Tensor, logits: tf.Tensor, ignore_class: int | None = None, class_weights: Weights = None
) -> tf.Tensor:
    """One minus the mean soft Dice coefficient of the classes that a batch contains.

    For each class `2 sum(p t) / (sum(p) + sum(t))`, with `p` its probability, `t` 1 on its pixels, over the labelled
    pixels of the whole batch (Milletari et al. 2016, https://arxiv.org/abs/1606.04797, without the squares). Classes
    without a pixel in the batch are left out of the mean: predicting one costs the others' coefficients already.

    Args:
        masks: `(batch, height, width)`, class ids.
        logits: `(batch, height, width, classes)`.
        ignore_class: id of the pixels to leave out.
        class_weights: weight of each class in the mean.

    Returns:
        scalar in [0, 1]; 0 for a batch without a labelled pixel.

    >>> round(float(soft_dice(tf.constant([[[0, 9]]]), tf.zeros((1, 1, 2, 4)), ignore_class=9)), 4)
    0.6
    """
    labelled, ids = _labelled(masks, ignore_class)
    weights = labelled[..., None]  # (batch, height, width, 1)
    probabilities = tf.nn.softmax(tf.cast(logits, tf.float32)) * weights
    truth = tf.one_hot(ids, logits.shape[-1]) * weights
    axes = (0, 1, 2)
    overlap = tf.reduce_sum(probabilities * truth, axes)  # (classes,)
    pixels = tf.reduce_sum(truth, axes)
    dice = 2.0 * overlap / tf.maximum(tf.reduce_sum(probabilities, axes) + pixels, 1.0)
    present = tf.cast(pixels > 0, tf.float32)
    if class_weights is not None:
        present = present * tf.constant(class_weights, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum((1.0 - dice) * present), tf.reduce_sum(present))


def cross_entropy_dice(
    masks: tf.Tensor, logits: tf.Tensor, ignore_class: int | None = None, class_weights: Weights = None
) -> tf.Tensor:
    """`cross_entropy` plus `soft_dice`; a scalar."""
    given = (masks, logits, ignore_class, class_weights)
    return cross_entropy(*given) + soft_dice(*given)


def _labelled(masks: tf.Tensor, ignore_class: int | None) -> tuple[tf.Tensor, tf.Tensor]:
    """1 on labelled pixels, and ids that are 0 elsewhere: a gather of an unknown id has no defined value."""
    ids = tf.cast(masks, tf.int32)
    if ignore_class is None:
        return tf.ones_like(ids, tf.float32), ids
    labelled = ids != ignore_class
    return tf.cast(labelled, tf.float32), tf.where(labelled, ids, 0)


LOSSES = {"cross_entropy": cross_entropy, "dice": soft_dice, "cross_entropy_dice": cross_entropy_dice}


@keras.utils.register_keras_serializable(package="train_unet")
class SegmentationLoss(keras.losses.Loss):
    """A loss of this module for `compile`, saved with the model.

    The value is already a mean over the batch's labelled pixels; Keras' sample weights are not for it.

    Args:
        loss: `"cross_entropy"`, `"dice"` or `"cross_entropy_dice"` (their sum).
        ignore_class: id of the pixels to leave out.
        class_weights: weight of each class, by id; `None` for 1.

    Raises:
        ValueError: for another name.
    """

    def __init__(
        self,
        loss: str = "cross_entropy",
        *,
        ignore_class: int | None = None,
        class_weights: Weights = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if loss not in LOSSES:
            raise ValueError(f"`loss` must be one of {', '.join(LOSSES)}. Received: loss={loss!r}.")
        super().__init__(name=name or loss, **kwargs)
        self.loss = loss
        self.ignore_class = ignore_class
        self.class_weights = None if class_weights is None else [float(one) for one in class_weights]

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Masks `(batch, height, width)` and logits `(batch, height, width, classes)` -> scalar."""
        return LOSSES[self.loss](y_true, y_pred, self.ignore_class, self.class_weights)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        own = {"loss": self.loss, "ignore_class": self.ignore_class, "class_weights": self.class_weights}
        return {**super().get_config(), **own}


def mean_iou(classes: int, *, ignore_class: int | None = None, name: str = "mIoU") -> Any:
    """Keras' own mean intersection over union, for logits.

    Args:
        classes: number of classes, that is of logits.
        ignore_class: id of the pixels to leave out.
        name: of the metric.

    Returns:
        `keras.metrics.MeanIoU`. A class with neither a true nor a predicted pixel is left out of the mean.
    """
    return keras.metrics.MeanIoU(classes, name=name, ignore_class=ignore_class, sparse_y_pred=False)


def class_ious(names: Sequence[str], *, ignore_class: int | None = None) -> list[Any]:
    """Intersection over union of each class, for logits.

    Args:
        names: of the classes, by id.
        ignore_class: id of the pixels to leave out.

    Returns:
        one `keras.metrics.IoU` for each class, called `iou_<name>`; 0 for a class without a pixel.
    """
    return [
        keras.metrics.IoU(len(names), [i], name=f"iou_{name}", ignore_class=ignore_class, sparse_y_pred=False)
        for i, name in enumerate(names)
    ]
