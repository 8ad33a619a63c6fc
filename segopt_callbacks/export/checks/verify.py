"""Runs every written file on the same data as the model in memory, and compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.data import Feed, MetricStates, cast_inputs
from segopt_callbacks.errors import FormatError, first_line
from segopt_callbacks.export.checks.disagreement import Disagreement, worse
from segopt_callbacks.export.checks.repeated import once
from segopt_callbacks.export.target import Runner

MODEL = "model"  # the artifact that is the model in memory


@dataclass
class Agreement:
    """How far the answers of one file are from the model's, so far.

    Attributes:
        largest: largest absolute difference of an output.
        float_largest: the same over floating outputs: an integer answer differs by a tie, not by rounding.
        magnitude: largest absolute floating answer of the model.
        total: sum of absolute differences.
        count: compared numbers.
        equal: pixels (or examples) whose largest class, or integer answer, is the same.
        decided: pixels that have one; outputs of one channel have none.

    Example:
        >>> agreement = Agreement()
        >>> agreement.add(np.array([[0.0, 1.0]]), np.array([[0.5, 1.0]]))
        >>> agreement.result()
        {'largest_difference': 0.5, 'relative_difference': 0.5, 'mean_difference': 0.25, 'equal_argmax': 1.0}
    """

    largest: float = 0.0
    float_largest: float = 0.0
    magnitude: float = 0.0
    total: float = 0.0
    count: int = 0
    equal: int = 0
    decided: int = 0

    def add(self, expected: np.ndarray, answer: np.ndarray) -> None:
        """Compares one output of one batch, batch first."""
        if answer.shape != expected.shape:
            raise FormatError(f"it answers in shape {answer.shape}, and the model in {expected.shape}")
        finite = np.isfinite(expected)
        if np.isnan(answer).any() or not np.isfinite(answer[finite]).all():
            raise FormatError(f"it answers {_nonfinite(answer)} where the model in memory is finite")
        difference = np.abs(answer[finite].astype(np.float64) - expected[finite])
        self.largest = max(self.largest, float(difference.max(initial=0.0)))
        if np.issubdtype(expected.dtype, np.floating):
            self.float_largest = max(self.float_largest, float(difference.max(initial=0.0)))
            self.magnitude = max(self.magnitude, float(np.abs(expected[finite]).max(initial=0.0)))
        self.total += float(difference.sum())
        self.count += difference.size
        if np.issubdtype(expected.dtype, np.integer):
            self.equal += int((answer == expected).sum())
            self.decided += answer.size
        elif expected.ndim >= 2 and expected.shape[-1] > 1:
            same = answer.argmax(-1) == expected.argmax(-1)
            self.equal += int(same.sum())
            self.decided += same.size

    def result(self) -> dict[str, float | None]:
        """The figures of the report: differences, and `equal_argmax`, a fraction in [0, 1].

        `relative_difference` is the largest one of a floating output, as a fraction of the model's largest answer.
        """
        return {
            "largest_difference": self.largest,
            "relative_difference": self.float_largest / self.magnitude if self.magnitude else self.float_largest,
            "mean_difference": self.total / self.count if self.count else 0.0,
            "equal_argmax": self.equal / self.decided if self.decided else None,
        }


@dataclass
class Verification:
    """What came out of `verify`.

    Attributes:
        examples: how many were run.
        results: file -> differences and `metrics`; `MODEL` has metrics only.
        causes: file -> why it failed.
        example: the inputs of the first example, batch 1.
        disagreements: file -> the example on which its classes differ most from the model's, where any do.
    """

    examples: int = 0
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    example: list[np.ndarray] = field(default_factory=list)
    disagreements: dict[str, Disagreement] = field(default_factory=dict)


def verify(
    model: Any,
    feed: Feed,
    runners: Mapping[str, Runner],
    *,
    metrics: Mapping[str, Any] | None = None,
) -> Verification:
    """Runs the model and every file on the same batches, each read once.

    Args:
        model: the model in memory.
        feed: the data; without `y` there are no metrics.
        runners: format -> function that runs its file.
        metrics: name -> Keras metric; its state is put back afterwards.

    Returns:
        the figures of each file, and why some have none.

    Raises:
        FormatError: if the model in memory itself answers NaN or does not take the data, or there is no example.
    """
    outcome = Verification()
    running = dict(runners)
    agreements = {name: Agreement() for name in runners}
    with MetricStates(metrics or {}) as states:
        for x, y, sample_weight in feed.batches():
            answers = _answers(model, x)
            expected = [_as_array(one) for one in tf.nest.flatten(answers)]
            if any(np.isnan(one).any() for one in expected):
                raise FormatError("the model in memory answers NaN itself; train it to finite weights first")
            states.update(MODEL, y, answers, sample_weight)
            inputs = cast_inputs(x, feed.specs)
            if not outcome.examples:
                outcome.example = [one[:1] for one in inputs]
            start = outcome.examples
            outcome.examples += len(inputs[0])
            for name in list(running):
                try:
                    flat = [once(*pair) for pair in zip(expected, running[name](inputs), strict=True)]
                    for one, other in zip(expected, flat, strict=True):
                        agreements[name].add(one, other)
                    worst = worse(outcome.disagreements.get(name), start, inputs, expected, flat)
                except (RuntimeError, ValueError, tf.errors.OpError) as error:  # FormatError is a RuntimeError
                    outcome.causes[name] = str(error) if isinstance(error, FormatError) else f"it does not run: {error}"
                    del running[name]
                    continue
                if worst is not None:
                    outcome.disagreements[name] = worst
                states.update(name, y, tf.nest.pack_sequence_as(answers, flat), sample_weight)
        if not outcome.examples:
            raise FormatError("there is no example to run it on; pass `evaluation_data` that is not empty")
        outcome.results = {name: agreements[name].result() | {"metrics": states.result(name)} for name in running}
        outcome.results[MODEL] = {"metrics": states.result(MODEL)}
    return outcome


def _answers(model: Any, x: Any) -> Any:
    try:
        return compat.infer(model, tf.nest.map_structure(tf.convert_to_tensor, x))
    except ValueError as error:  # Keras', of shapes that a layer does not take
        raise FormatError(f"the model in memory does not take the data: {first_line(error)}") from error


def _as_array(output: Any) -> np.ndarray:
    array = np.asarray(tf.convert_to_tensor(output))
    return array if np.issubdtype(array.dtype, np.integer) else array.astype(np.float32)


def _nonfinite(answer: np.ndarray) -> str:
    return "NaN" if np.isnan(answer).any() else "infinity"
