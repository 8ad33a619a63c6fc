"""Whether a teacher's answers are what they are said to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks.distillation.settings import shown

_ROUNDING = 0.01  # of a sum of probabilities, in half precision too


def require_alike(teacher: Any, student: Any) -> None:
    """Raises unless both have given as many answers, of the same shapes.

    Raises:
        ValueError: if not.
    """
    theirs, ours = tf.nest.flatten(teacher), tf.nest.flatten(student)
    names = [one.keys() if isinstance(one, Mapping) else None for one in (teacher, student)]
    fits = len(theirs) == len(ours) and (len(ours) == 1 or names[0] == names[1])
    if not fits or not all(_fits(one, other) for one, other in zip(theirs, ours, strict=True)):
        raise ValueError(
            "A teacher must answer as its student does, with the same outputs of the same shapes; choose its last "
            f"layers so, or pass a function that does. Received: {shown(teacher)} for {shown(student)}."
        )


def _fits(teacher: Any, student: Any) -> bool:
    return teacher.shape.rank == student.shape.rank and teacher.shape.is_compatible_with(student.shape)


def weights_of_each(sample_weight: Any, student: Any) -> list[Any]:
    """The sample weights of each output, as Keras hands them out: one for all, or one for each.

    Raises:
        ValueError: for another number of them.

    Example:
        >>> weights_of_each({"b": 2.0}, {"a": 0.0, "b": 0.0}), weights_of_each(2.0, [0.0, 0.0])
        ([None, 2.0], [2.0, 2.0])
    """
    count = len(tf.nest.flatten(student))
    if isinstance(sample_weight, Mapping) and isinstance(student, Mapping):
        return [sample_weight.get(name) for name in sorted(student)]
    weights = tf.nest.flatten(sample_weight)
    if len(weights) not in (1, count):
        raise ValueError(
            "`sample_weight` must be one for all outputs, or have one for each. "
            f"Received: {len(weights)} for {shown(student)}."
        )
    return weights if len(weights) == count else weights * count


def require_classes(answers: Any, kind: str) -> None:
    """Raises where a softmax over the last axis would say nothing.

    Raises:
        ValueError: for an answer without classes.
    """
    rank = answers.shape.rank
    if rank is None or rank < 2 or (kind in ("logits", "probabilities") and answers.shape[-1] == 1):
        raise ValueError(
            f"The last axis of {kind} must be one of channels, and of two classes at least; say "
            f"outputs='binary_{kind}' for one channel of yes or no, or 'values'. Received: {tuple(answers.shape)}."
            if kind in ("logits", "probabilities")
            else f"The last axis of {kind} must be one of channels, behind the batch. Received: {tuple(answers.shape)}."
        )


def figures(answers: tf.Tensor) -> tf.Tensor:
    """Lowest and highest answer, how far the sum of a last axis is from 1 at most, and their sum: float32, `(4,)`."""
    answers = tf.cast(answers, tf.float32)
    off = tf.reduce_max(tf.abs(tf.reduce_sum(answers, axis=-1) - 1))
    return tf.stack([tf.reduce_min(answers), tf.reduce_max(answers), off, tf.reduce_sum(answers)])


FIGURES = 4


def require_kind(found: np.ndarray, kind: str) -> None:
    """Raises where a teacher's answers on the first batch are of another kind.

    Args:
        found: what `figures` gave.
        kind: what they are said to be.

    Raises:
        ValueError: if they are not, or not finite.

    Example:
        >>> require_kind(np.array([0.1, 0.9, 0.0, 8.0]), "probabilities")
        >>> require_kind(np.array([0.1, 0.9, 0.0, 8.0]), "logits")
        Traceback (most recent call last):
        ValueError: A teacher's answers must be what `outputs` says; say outputs='probabilities'. Received: \
outputs='logits', and answers from 0.1 to 0.9, whose sums over the last axis are at most 0 from 1.
    """
    lowest, highest, off, total = (float(one) for one in found)
    if not np.isfinite(found).all():
        raise ValueError(
            "A teacher's answers must be finite; look for NaN in its weights, and for a scale that its inputs lack. "
            f"Received: answers whose sum is {total}."
        )
    is_share = lowest >= 0 and highest <= 1
    fits_kind = {
        "logits": not (is_share and off < _ROUNDING),
        "binary_logits": not is_share,
        "probabilities": is_share and off < _ROUNDING,
        "binary_probabilities": is_share,
    }
    if not fits_kind.get(kind, True):
        other = kind.replace("logits", "probabilities") if "logits" in kind else kind.replace("probabilities", "logits")
        raise ValueError(
            f"A teacher's answers must be what `outputs` says; say outputs='{other}'. Received: outputs='{kind}', and "
            f"answers from {lowest:.3g} to {highest:.3g}, whose sums over the last axis are at most {off:.3g} from 1."
        )
