"""What the callback is told, checked before any step is spent on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.distillation.losses import KINDS, OutputKind
from segopt_callbacks.rules import did_you_mean, is_number, percent_for_fraction

Outputs: TypeAlias = OutputKind | Sequence[OutputKind | None] | Mapping[str, OutputKind | None]


@dataclass(frozen=True)
class Settings:
    """How a student learns from its teacher.

    Attributes:
        temperature: that softens both answers, above 0.
        weight: of what the teacher says, in (0, 1]; the model's own loss has the rest.
        outputs: what each output is; see `DistillationCallback`.
    """

    temperature: float
    weight: float
    outputs: Any

    def __post_init__(self) -> None:
        if not is_number(self.temperature) or self.temperature <= 0:
            raise ValueError(
                "`temperature` must be a number above 0; 1 leaves answers as they are, 2 to 4 soften them. "
                f"Received: temperature={self.temperature!r}."
            )
        if not is_number(self.weight) or not 0 < self.weight <= 1:
            raise ValueError(
                "`weight` must be the teacher's fraction of the loss, in (0, 1]; leave the callback out for 0."
                f"{percent_for_fraction(self.weight)} Received: weight={self.weight!r}."
            )
        leaves = tf.nest.flatten(self.outputs)
        known = [one for one in leaves if isinstance(one, str) and one in KINDS]
        if not known or any(one is not None and one not in known for one in leaves):
            raise ValueError(
                f"`outputs` must be one of {', '.join(KINDS)}, or have one of them (or None) for each output, and one "
                f"at least.{did_you_mean(self.outputs, KINDS)} Received: outputs={self.outputs!r}."
            )

    def of_each(self, answers: Any) -> list[str | None]:
        """The kind of each answer, in TensorFlow's order of their structure.

        Raises:
            ValueError: if `outputs` has not one for each.
        """
        count = len(tf.nest.flatten(answers))
        if isinstance(self.outputs, str):
            return [self.outputs] * count
        is_by_name = isinstance(self.outputs, Mapping)
        fits = answers.keys() == self.outputs.keys() if is_by_name and isinstance(answers, Mapping) else not is_by_name
        kinds = tf.nest.flatten(dict(self.outputs) if is_by_name else list(self.outputs))
        if not fits or len(kinds) != count:
            raise ValueError(
                "`outputs` must have an entry for each of the model's outputs: a list in their order, or a dict for a "
                "model that answers with one; None leaves an output out. "
                f"Received: outputs={self.outputs!r} for {shown(answers)}."
            )
        return kinds


def validate_teacher(teacher: Any) -> None:
    """Checks that a teacher can be asked.

    Raises:
        ValueError: if it is neither a built model nor a callable.
    """
    if teacher is not None and (not callable(teacher) or isinstance(teacher, type)):
        raise ValueError(
            "`teacher` must be a Keras model, a function from inputs to answers, or None for the model's own weights "
            f"of when training begins. Received: teacher={teacher!r}."
        )
    if teacher is not None and compat.is_model(teacher) and not compat.has_weights(teacher):
        raise ValueError(
            "`teacher` must have its weights; load a trained model, or call it on data and load its weights. "
            f"Received: {teacher.name!r}, which is not built."
        )


def shown(answers: Any) -> Any:
    """The shapes of answers, in their structure."""
    return tf.nest.map_structure(lambda one: tuple(one.shape), answers)
