"""How far a student's answers are from its teacher's."""

from __future__ import annotations

from typing import Any, Literal, get_args

import tensorflow as tf

OutputKind = Literal["logits", "probabilities", "binary_logits", "binary_probabilities", "values"]
KINDS: tuple[str, ...] = get_args(OutputKind)
_LEAST = 1e-7  # of a probability whose logarithm is taken, as in Keras


def distillation_loss(
    teacher: tf.Tensor, student: tf.Tensor, kind: str, temperature: float, sample_weight: Any = None, mask: Any = None
) -> tf.Tensor:
    """What a teacher has to say about a student's answers: one number for a batch.

    For classes it is `T^2 * KL(teacher || student)`, with both softened by the temperature `T`: `softmax(logits / T)`.
    The factor keeps its gradients as large as those of the labels (Hinton et al. 2015,
    https://arxiv.org/abs/1503.02531, section 2). For values it is the mean squared error over the last axis.

    Args:
        teacher: `(batch, ..., channels)`.
        student: the same shape.
        kind: one of `KINDS`.
        temperature: above 0.
        sample_weight: one number for each example or position, `(batch,)`, `(batch, ...)` or `(batch, ..., 1)`.
        mask: bool, `(batch, ...)`, positions that count.

    Returns:
        scalar: the mean over all positions of weight times divergence, as Keras' losses have it.

    Example:
        >>> logits = tf.constant([[0.0, 0.0], [2.0, 0.0]])
        >>> float(distillation_loss(logits, logits, "logits", 2.0))
        0.0
        >>> float(distillation_loss(logits, logits + [[1.0, 0.0]], "values", 2.0))
        0.5
    """
    dtype = tf.float64 if student.dtype == tf.float64 else tf.float32
    teacher, student = tf.cast(teacher, dtype), tf.cast(student, dtype)
    if kind == "values":
        far = tf.reduce_mean(tf.math.squared_difference(teacher, student), axis=-1)
    else:
        far = divergence(as_logits(teacher, kind), as_logits(student, kind), temperature)
        far = tf.reduce_mean(far, axis=-1) if kind.startswith("binary") else far
    return weighted_mean(far, sample_weight, mask)


def divergence(teacher: tf.Tensor, student: tf.Tensor, temperature: float) -> tf.Tensor:
    """`T^2 * KL(softmax(teacher / T) || softmax(student / T))` over the last axis, which is gone then.

    >>> round(float(divergence(tf.constant([0.0, 0.0]), tf.math.log([0.25, 0.75]), 1.0)), 4)
    0.1438
    """
    log_teacher = tf.nn.log_softmax(teacher / temperature)
    log_student = tf.nn.log_softmax(student / temperature)
    return temperature**2 * tf.reduce_sum(tf.exp(log_teacher) * (log_teacher - log_student), axis=-1)


def as_logits(answers: tf.Tensor, kind: str) -> tf.Tensor:
    """Answers -> numbers whose softmax over the last axis they mean; with two for each channel that is yes or no.

    >>> as_logits(tf.constant([[0.0], [3.0]]), "binary_logits").shape
    TensorShape([2, 1, 2])
    """
    if kind == "logits":
        return answers
    if kind == "binary_logits":
        return tf.stack([answers, tf.zeros_like(answers)], axis=-1)
    if kind == "binary_probabilities":
        answers = tf.stack([answers, 1 - answers], axis=-1)
    return tf.math.log(tf.maximum(answers, _LEAST))


def weighted_mean(values: tf.Tensor, sample_weight: Any, mask: Any) -> tf.Tensor:
    """The mean of values times weights; with a mask, over what it leaves.

    >>> float(weighted_mean(tf.constant([[1.0, 3.0], [5.0, 7.0]]), tf.constant([1.0, 0.0]), None))
    1.0
    >>> float(weighted_mean(tf.constant([[1.0, 3.0]]), None, tf.constant([[True, False]])))
    1.0
    """
    if sample_weight is not None:
        values *= tf.cast(_of_rank(tf.convert_to_tensor(sample_weight), values.shape.rank), values.dtype)
    if mask is None:
        return tf.reduce_mean(values)
    kept = tf.broadcast_to(tf.cast(_of_rank(mask, values.shape.rank), values.dtype), tf.shape(values))
    return tf.math.divide_no_nan(tf.reduce_sum(values * kept), tf.reduce_sum(kept))


def _of_rank(weight: tf.Tensor, rank: int) -> tf.Tensor:
    """`(batch,)` -> `(batch, 1, 1)`, and `(batch, height, width, 1)` -> `(batch, height, width)`."""
    while weight.shape.rank < rank:
        weight = weight[..., tf.newaxis]
    return tf.squeeze(weight, axis=-1) if weight.shape.rank == rank + 1 else weight
