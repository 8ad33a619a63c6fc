"""A model whose training steps listen to a teacher as well."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.distillation.answers import (
    FIGURES,
    figures,
    require_alike,
    require_classes,
    require_kind,
    weights_of_each,
)
from segopt_callbacks.distillation.losses import distillation_loss
from segopt_callbacks.distillation.settings import Settings
from segopt_callbacks.distillation.teachers import Teacher, ask

_CHECKED = 16  # outputs, the first ones, of which it is looked at what they are


class Distillation:
    """Changes what a model's `compute_loss` returns inside its `train_step`; the model itself stays as it is.

    Args:
        model: a Keras model.
        teacher: inputs -> answers.
        settings: how it learns.
    """

    def __init__(self, model: Any, teacher: Teacher, settings: Settings) -> None:
        self.model = model
        self.teacher = teacher
        self.settings = settings
        with compat.strategy_scope(model):
            self._sum, self._examples = self._variable(()), self._variable(())
            self._figures = self._variable((_CHECKED, FIGURES), tf.VariableAggregation.ONLY_FIRST_REPLICA)
        self._kinds: list[str | None] = []
        self._step = threading.local()

    @staticmethod
    def _variable(
        shape: tuple[int, ...], aggregation: tf.VariableAggregation = tf.VariableAggregation.SUM
    ) -> tf.Variable:
        # Each replica takes down what it sees of the batch.
        on_read = tf.VariableSynchronization.ON_READ
        return tf.Variable(tf.zeros(shape), trainable=False, synchronization=on_read, aggregation=aggregation)

    def attach(self) -> Callable[[], None]:
        """Makes the model learn so.

        Returns:
            what lets it go.
        """
        undos = [
            compat.around_method(self.model, "train_step", self._train),
            compat.around_call(self.model, self._call),
            compat.around_method(self.model, "compute_loss", self._compute_loss),
        ]

        def undo() -> None:
            for one in reversed(undos):
                one()

        return undo

    def _train(self, step: Callable[..., Any], *arguments: Any) -> Any:
        self._step.asked = []
        try:
            return step(*arguments)
        finally:
            self._step.asked = None

    def _call(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        asked = getattr(self._step, "asked", None)
        if asked is not None:
            asked.append(arguments[0] if arguments else options.get("inputs"))
        return call(*arguments, **options)

    def _compute_loss(self, compute: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        asked = getattr(self._step, "asked", None)
        if asked is None:  # an evaluation
            return compute(*arguments, **options)
        given = dict(zip(compat.ARGUMENTS_OF_COMPUTE_LOSS, arguments, strict=False)) | options
        inputs = self._inputs(given.get("x"), asked)
        told = self._told(inputs, given.get("y_pred"), given.get("sample_weight"))
        self._take_down(told, given.get("y_pred"))

        def change(own: Any, share: float) -> Any:
            weight = self.settings.weight
            own = tf.zeros_like(told) if own is None else own
            return (1 - weight) * own + tf.cast(weight * share * told, own.dtype)

        return compat.changed_loss(self.model, lambda: compute(*arguments, **options), change)

    def _inputs(self, given: Any, asked: list[Any]) -> Any:
        """What the student has answered."""
        if given is None and len(asked) != 1:
            raise ValueError(
                "A teacher must be asked what its student was; let the train_step call "
                "compute_loss(x=..., y=..., y_pred=...), with the `x` of that answer. "
                f"Received: no `x`, in a step that calls the model {len(asked)} times."
            )
        return asked[0] if given is None else given

    def _told(self, inputs: Any, student: Any, sample_weight: Any) -> tf.Tensor:
        """The sum of what the teacher says about each output."""
        teacher = ask(self.teacher, inputs)
        require_alike(teacher, student)
        self._kinds = self.settings.of_each(student)
        theirs, ours = tf.nest.flatten(teacher), tf.nest.flatten(student)
        weights = weights_of_each(sample_weight, student)
        temperature, told, found = self.settings.temperature, [], []
        for one, other, kind, weight in zip(theirs, ours, self._kinds, weights, strict=True):
            if kind is not None:
                require_classes(one, kind)
                told.append(distillation_loss(one, other, kind, temperature, weight, compat.mask_of(other)))
            found.append(figures(one) if kind else tf.zeros(FIGURES))
        self._figures.assign(tf.pad(tf.stack(found[:_CHECKED]), [[0, max(_CHECKED - len(found), 0)], [0, 0]]))
        return tf.add_n([tf.cast(one, told[0].dtype) for one in told])

    def _take_down(self, told: tf.Tensor, student: Any) -> None:
        examples = tf.cast(tf.shape(tf.nest.flatten(student)[0])[0], tf.float32)
        self._sum.assign_add(tf.cast(told, tf.float32) * examples)
        self._examples.assign_add(examples)

    @property
    def mean(self) -> float:
        """Of the distillation loss, over the examples since the last `reset`; not a number without any."""
        examples = float(compat.read_statistic(self._examples))
        return float(compat.read_statistic(self._sum)) / examples if examples else float("nan")

    def reset(self) -> None:
        """Begins a new mean."""
        for one in (self._sum, self._examples):
            one.assign(0.0)

    def require_heard(self) -> None:
        """Raises unless a step has asked the teacher, and got answers of the kind that was said.

        Raises:
            RuntimeError: if none has.
            ValueError: for answers of another kind.
        """
        if not compat.read_statistic(self._examples):
            raise RuntimeError(
                "A step must compute its loss by the model's compute_loss for a teacher to be heard; call "
                "self.compute_loss(x=x, y=y, y_pred=y_pred) in your train_step, and the model's train_step in a loop "
                f"of your own. Received: {self.model.name!r}, whose first step did not."
            )
        for kind, found in zip(self._kinds, compat.read_statistic(self._figures), strict=False):
            if kind is not None:
                require_kind(found, kind)
