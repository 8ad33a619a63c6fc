"""What an export feeds to a model and its files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.data import forms
from segopt_callbacks.data.lint import Seen, lint, unlike_training
from segopt_callbacks.data.rehearsal import require_sound
from segopt_callbacks.data.training_sample import TrainingSample
from segopt_callbacks.errors import FormatError
from segopt_callbacks.model import input_signature, signature


class Feed:
    """The user's data for one model, whichever of it there is.

    Args:
        model: a built Keras model.
        evaluation_data: as `export_model` takes it.
        representative_dataset: as `export_model` takes it, or a `TrainingSample`, which is used as far as it fits.
        given: the `input_signature` of `export_model`.

    Attributes:
        specs: structure of `tf.TensorSpec`, what the model is fed.
        batch_size: that of files; `None` for any.
        has_open_sizes: whether files are to take other sizes than those of the data.
        name: what the files are run on, for people.
        calibration: what integer formats are calibrated on, for people.
        oddities: what is odd about the representative data that the user passed, once they have been read; see `lint`.

    Raises:
        ValueError: if neither data nor model tell the sizes of the input, or not those of the signature.
    """

    def __init__(self, model: Any, evaluation_data: Any, representative_dataset: Any, given: Any = None) -> None:
        self._evaluation_data = evaluation_data = forms.as_evaluation_data(evaluation_data)
        sample = representative_dataset if isinstance(representative_dataset, TrainingSample) else None
        self._representative_dataset = None if sample else representative_dataset
        self._sampled: list[Any] = sample.examples(given) if sample else []
        self._trained_on: list[Any] = sample.examples() if sample and evaluation_data is not None else []
        self.oddities: list[str] = []
        example = None
        # What `fit` takes is what the model is fed; representative data may have been cast for the converter.
        if evaluation_data is not None:
            self.name = "evaluation data"
            example = next(forms.evaluation_examples(evaluation_data), None)
        elif self._representative_dataset is not None:
            self.name = "representative data"
            structure = compat.model_input_specs(model) if given is None else given
            example = next(forms.representative_examples(self._representative_dataset, structure), None)
        elif self._sampled:
            self.name = "training data"
            example = self._sampled[0]
        else:
            self.name = "noise"
        self.batch_size = input_signature.batch_size(given)
        self.has_open_sizes = input_signature.has_open_sizes(given)
        if given is None:
            self.specs = signature.input_specs(model, example)
        else:
            self.specs = input_signature.fitted(given, example)
        self.calibration = "representative data" if self._representative_dataset is not None else "evaluation data"
        if sample:
            self._sampled = sample.examples(self.specs)
            self.calibration = self._told(sample)

    def _told(self, sample: TrainingSample) -> str:
        told = sample.told(len(self._sampled))
        return told if self._sampled or self._evaluation_data is None else f"evaluation data, and {told}"

    @property
    def has_data(self) -> bool:
        """Whether there is any data of the user's to calibrate on."""
        given = self._evaluation_data is not None or self._representative_dataset is not None
        return given or bool(self._sampled)

    @property
    def batch_count(self) -> int | None:
        """How many `batches` yields; `None` where that is not known before they are read."""
        if self._evaluation_data is not None:
            return forms.count_batches(self._evaluation_data)
        return None if self._representative_dataset is not None else len(self._sampled) or 1

    def representative(self) -> Iterator[list[np.ndarray]]:
        """Yields the inputs of one example after the other, batch size 1, in the dtypes of `specs`.

        Raises:
            FormatError: if there is no example, or a dtype does not fit.
        """
        if self._representative_dataset is not None:
            examples = forms.representative_examples(self._representative_dataset, self.specs)
        elif self._sampled:
            examples = iter(self._sampled)
        else:
            examples = forms.evaluation_examples(self._evaluation_data)
        seen = Seen()
        for example in examples:
            seen.add(forms.leaves(example))
            yield cast_inputs(example, self.specs)
        if not seen.count:
            raise FormatError("there is no example in `representative_dataset` or `evaluation_data`; pass at least one")
        if self._representative_dataset is not None:
            self.oddities = lint(seen, self._evaluation_data, self.specs)

    def batches(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yields `(x, y, sample_weight)` to run files on; without evaluation data `y` is `None`."""
        if self._evaluation_data is not None:
            if self._trained_on and not self.oddities:
                self.oddities = unlike_training(self._evaluation_data, self._trained_on)
            for batch in forms.evaluation_batches(self._evaluation_data):
                try:
                    require_sound(batch)
                except ValueError as error:
                    raise FormatError(str(error)) from error
                yield batch
        elif self._representative_dataset is not None:
            for example in forms.representative_examples(self._representative_dataset, self.specs):
                yield example, None, None
        elif self._sampled:
            yield from ((example, None, None) for example in self._sampled)
        else:
            yield forms.synthetic_example(self.specs), None, None


def cast_inputs(inputs: Any, specs: Any) -> list[np.ndarray]:
    """The leaves of `inputs` in the dtypes of `specs`.

    Raises:
        FormatError: if that would lose fractions, as floats do in a signature of integers.

    Example:
        >>> cast_inputs(np.ones((1, 2)), tf.TensorSpec((1, 2), tf.float32))[0].dtype
        dtype('float32')
    """
    return [_cast(np.asarray(one), spec) for one, spec in zip(forms.leaves(inputs), forms.leaves(specs), strict=True)]


def _cast(value: np.ndarray, spec: tf.TensorSpec) -> np.ndarray:
    dtype = np.dtype(spec.dtype.as_numpy_dtype)
    if np.issubdtype(dtype, np.integer) and not np.issubdtype(value.dtype, np.integer):
        raise FormatError(
            f"data must be of the dtype that the model was fed; pass {dtype.name}. Received: {value.dtype.name}"
        )
    return value.astype(dtype, copy=False)
