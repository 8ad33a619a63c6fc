"""Distillation: a student learns from the answers of a teacher too."""

from __future__ import annotations

from typing import Any

from segopt_callbacks import compat
from segopt_callbacks.distillation.distilling import Distillation
from segopt_callbacks.distillation.settings import Outputs, Settings, validate_teacher
from segopt_callbacks.distillation.teachers import as_teacher, own_inference
from segopt_callbacks.fit import CompressionCallback, Stage


class DistillationCallback(CompressionCallback):
    """Lets a model learn from a teacher's answers while it is compressed.

    The loss of a training step becomes `(1 - weight) * own + weight * T^2 * KL(teacher || student)` (Hinton et al.
    2015, https://arxiv.org/abs/1503.02531, section 2). Both answers are softened by the temperature `T`; `own` is the
    model's compiled loss, its penalties included. The divergence is a mean over all examples and positions: for
    segmentation over pixels. `sample_weight` weighs it as it weighs the loss. Positions whose label the loss ignores
    count, since the teacher has an answer there; give them a `sample_weight` of 0 to leave them out. Of several outputs
    the divergences are summed up.

    The teacher is asked inside the compiled step, about what the model was fed, in inference. It never trains and is
    no part of the model, its files or its checkpoints. Evaluations keep the plain loss. Epoch logs gain
    `distillation_loss`: `T^2` times the divergence, or the error, without `weight`. `loss` is the sum that is
    minimized.

    Args:
        teacher: a trained model of either Keras, or a function of TensorFlow operations, that takes what the model
            takes, and answers as it does. Default: the model's own weights, as they are before this fit compresses
            them.
        temperature: `T`, above 0: 1 leaves answers as they are, higher ones soften them.
        weight: the teacher's fraction of the loss, in (0, 1].
        outputs: what the model's last axis is: `"logits"` or `"probabilities"` (the classes of a softmax),
            `"binary_logits"` or `"binary_probabilities"` (each channel yes or no, a sigmoid), or `"values"`, for which
            the divergence is the mean squared error. Of several outputs a list, or a dict for a model that answers
            with one; `None` leaves an output out.

    Raises:
        ValueError: for an argument outside its range. When training begins, for a teacher that shares weights with the
            model, or if a model that is to teach itself has never trained. In the first step, for answers of another
            shape or kind.
        RuntimeError: after the first step, if it did not call the model's `compute_loss`.

    Example:
        >>> import numpy as np
        >>> from segopt_callbacks.compat import keras
        >>> make = lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model, teacher = make(), make()
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> data = np.ones((16, 8), "float32"), np.ones(16, "int32")
        >>> history = model.fit(*data, verbose=0, callbacks=[DistillationCallback(teacher, temperature=2.0)])
        >>> sorted(history.history)
        ['distillation_loss', 'loss']
    """

    stage = Stage.DISTILL

    def __init__(
        self, teacher: Any = None, *, temperature: float = 2.0, weight: float = 0.5, outputs: Outputs = "logits"
    ) -> None:
        super().__init__()
        validate_teacher(teacher)
        self._settings = Settings(temperature, weight, outputs)
        self.teacher = teacher
        self.temperature = temperature
        self.weight = weight
        self.outputs = outputs

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        memo[id(self.teacher)] = self.teacher  # it never changes
        return super().__deepcopy__(memo)

    def on_train_begin(self, logs: Any = None) -> None:
        self._distillation: Distillation | None = None
        self._is_heard = False
        super().on_train_begin(logs)

    @property
    def needs_fed(self) -> bool:
        """A model that teaches itself is traced on what it is fed, images of bytes as such."""
        return self.teacher is None

    def prepare(self) -> None:
        """Freezes the teacher, before anybody changes a weight, and lets the step listen."""
        self._require_possible()
        if self.teacher is None:  # a model that is built for whole images may be fed parts of them
            fed = self.lifecycle.fed
            teacher = own_inference(self.model, compat.model_input_specs(self.model) if fed is None else fed)
        else:
            teacher = as_teacher(self.teacher, self.model)
        self._distillation = Distillation(self.model, teacher, self._settings)
        self.attached.on_release(self._forget)
        self.attached.simulate(self._distillation)

    def _require_possible(self) -> None:
        if len(self.lifecycle.other_callbacks(type(self).__name__)) > 1:
            raise ValueError(
                "A fit can have one DistillationCallback; for several teachers pass a function that averages their "
                "answers. Received: more than one in the list of callbacks."
            )
        if compat.is_traced_by_itself(self.model.train_step):
            raise ValueError(
                "A train_step must be traced by fit, so that it listens to its teacher in this fit alone; take "
                f"@tf.function off it, since fit compiles it. Received: {self.model.name!r}, whose train_step has one."
            )
        if self.teacher is None and self.lifecycle.step:
            raise ValueError(
                "A fit that is resumed has no weights from before its compression; save the model before you compress "
                f"it, and pass it as `teacher`. Received: teacher=None at step {self.lifecycle.step}."
            )

    def _forget(self) -> None:
        self._distillation = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        if self._distillation is not None:
            self._distillation.reset()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        with self.attached.released_on_error():
            self.lifecycle.step_after(batch)
            if self._distillation is not None and not self._is_heard:
                self._is_heard = True
                self._distillation.require_heard()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None and self._distillation is not None:
            logs["distillation_loss"] = self._distillation.mean
