"""How far the answers of a file are from the model's: each output by itself, and each channel where units differ.

Pure NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.checks.channels import NOISE, Channels

MOST_CHANNELS = 32  # of an output that are told


@dataclass
class OutputAgreement:
    """One output of one file, so far.

    Attributes:
        name: of the output.
        has_classes: whether its last axis is one of classes, so that the largest one is an answer.
        largest: largest absolute difference.
        magnitude: largest absolute answer of the model.
        total: sum of absolute differences.
        count: compared numbers.
        equal: pixels (or examples) whose largest class, or integer answer, is the same.
        decided: pixels that have one.
        is_float: whether answers are floats: an integer differs by a tie, not by rounding.
        channels: of float outputs whose last axis keeps its size.
        answers: integers that the model has answered, and how often; `file_answers`: those of the file.
    """

    name: str = "output"
    has_classes: bool = False
    largest: float = 0.0
    magnitude: float = 0.0
    total: float = 0.0
    count: int = 0
    equal: int = 0
    decided: int = 0
    is_float: bool = True
    channels: Channels | None = None
    answers: dict[int, int] = field(default_factory=dict)
    file_answers: set[int] = field(default_factory=set)

    def add(self, expected: np.ndarray, answer: np.ndarray) -> None:
        """Compares one batch, batch first.

        Raises:
            FormatError: if shapes differ, or the file is not finite where the model is.
        """
        if answer.shape != expected.shape:
            raise FormatError(f"it answers in shape {answer.shape}, and the model in {expected.shape}")
        finite = np.isfinite(expected)
        if np.isnan(answer).any() or not np.isfinite(answer[finite]).all():
            raise FormatError(f"it answers {_nonfinite(answer)} where the model in memory is finite")
        difference = np.abs(answer[finite].astype(np.float64) - expected[finite])
        self.largest = max(self.largest, float(difference.max(initial=0.0)))
        self.magnitude = max(self.magnitude, float(np.abs(expected[finite]).max(initial=0.0)))
        self.total += float(difference.sum())
        self.count += difference.size
        self.is_float = bool(np.issubdtype(expected.dtype, np.floating))
        if not self.is_float:
            self._add_integers(expected, answer)
        elif expected.ndim >= 2 and expected.size:
            self._add_channels(expected, answer)

    def _add_integers(self, expected: np.ndarray, answer: np.ndarray) -> None:
        self.equal += int((answer == expected).sum())
        self.decided += answer.size
        for value, number in zip(*np.unique(expected, return_counts=True), strict=True):
            self.answers[int(value)] = self.answers.get(int(value), 0) + int(number)
        self.file_answers.update(map(int, np.unique(answer)))

    def _add_channels(self, expected: np.ndarray, answer: np.ndarray) -> None:
        if self.has_classes:
            same = answer.argmax(-1) == expected.argmax(-1)
            self.equal += int(same.sum())
            self.decided += same.size
        batch = Channels.of(expected, answer)
        if self.channels is None and self.count == expected.size:
            self.channels = batch
        elif self.channels is not None:
            is_same = batch.low.shape == self.channels.low.shape  # else the last axis is an open size
            self.channels = self.channels.joined(batch) if is_same else None

    @property
    def relative(self) -> float:
        """Largest difference as a fraction of the model's largest answer; 0 for integers."""
        if not self.is_float:
            return 0.0
        return self.largest / self.magnitude if self.magnitude else self.largest

    @property
    def equal_argmax(self) -> float | None:
        """Fraction of pixels (or examples) of the same class, in [0, 1]; `None` where there are no classes."""
        return self.equal / self.decided if self.decided else None

    @property
    def shares_unit(self) -> bool:
        """Whether its channels are of one unit whatever their size: classes, and scores from 0 to 1."""
        if self.channels is None or self.has_classes:
            return True
        return bool(self.channels.low.min() >= 0 and self.channels.high.max() <= 1 + NOISE)

    def result(self) -> dict[str, Any]:
        """The figures of the report.

        Returns:
            `name`, `largest_difference`, `relative_difference`, `mean_difference`, `equal_argmax` (`None` where there
            are no classes), and where channels have units of their own `channels`: those that differ most, each with
            its `channel` (from 0), `magnitude` and `relative_difference`.
        """
        found: dict[str, Any] = {
            "name": self.name,
            "largest_difference": self.largest,
            "relative_difference": self.relative,
            "mean_difference": self.total / self.count if self.count else 0.0,
            "equal_argmax": self.equal_argmax,
        }
        channels = self.channels
        if channels is not None and not self.has_classes and channels.has_own_units:
            worst = np.argsort(-channels.relative, kind="stable")[:MOST_CHANNELS]
            found["channels"] = [
                {
                    "channel": int(index),
                    "magnitude": float(channels.magnitude[index]),
                    "relative_difference": float(channels.relative[index]),
                }
                for index in sorted(worst)
            ]
        return found


@dataclass
class Agreement:
    """All outputs of one file.

    Attributes:
        outputs: in the model's order.

    Example:
        >>> agreement = Agreement([OutputAgreement("scores", has_classes=True)])
        >>> agreement.add([np.array([[0.0, 1.0]])], [np.array([[0.5, 1.0]])])
        >>> figures = agreement.result()
        >>> figures["relative_difference"], figures["mean_difference"], figures["equal_argmax"]
        (0.5, 0.25, 1.0)
    """

    outputs: list[OutputAgreement]

    def add(self, expected: Sequence[np.ndarray], answers: Sequence[np.ndarray]) -> None:
        """Compares the outputs of one batch, see `OutputAgreement.add`."""
        for output, one, other in zip(self.outputs, expected, answers, strict=True):
            output.add(one, other)

    def result(self) -> dict[str, Any]:
        """The figures of the report: those of the worst output, so that a good one hides no bad one; and of `outputs`.

        Returns:
            `largest_difference`; `relative_difference`, of floating outputs, each as a fraction of the model's largest
            answer in it; `mean_difference`, over everything; `equal_argmax`, in [0, 1]; `outputs`, one by one.
        """
        decided = [one.equal_argmax for one in self.outputs if one.equal_argmax is not None]
        count = sum(one.count for one in self.outputs)
        return {
            "largest_difference": max((one.largest for one in self.outputs), default=0.0),
            "relative_difference": max((one.relative for one in self.outputs), default=0.0),
            "mean_difference": sum(one.total for one in self.outputs) / count if count else 0.0,
            "equal_argmax": min(decided, default=None),
            "outputs": [one.result() for one in self.outputs],
        }


def _nonfinite(answer: np.ndarray) -> str:
    return "NaN" if np.isnan(answer).any() else "infinity"
