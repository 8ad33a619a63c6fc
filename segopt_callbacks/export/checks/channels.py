"""How far the answers of a file are from the model's in each channel; pure NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

APART = 100.0  # channels whose largest answers differ by more than this factor have units of their own
NOISE = 1e-6  # of the largest answer: what float32 arithmetic leaves of nothing


@dataclass
class Channels:
    """What is known of each channel (last axis) of an output.

    Attributes:
        low: `(channels,)`, the model's least answer; `high`: its largest.
        file_low: the file's least answer; `file_high`: its largest.
        difference: largest absolute difference.
        count: answers in each channel.
    """

    low: np.ndarray
    high: np.ndarray
    file_low: np.ndarray
    file_high: np.ndarray
    difference: np.ndarray
    count: int

    @classmethod
    def of(cls, expected: np.ndarray, answer: np.ndarray) -> Channels:
        """Of one batch; what is not finite in the model's answers is left out."""
        # Channels first: NumPy reduces a row many times faster than a column.
        ours, theirs = (np.moveaxis(one.reshape(-1, one.shape[-1]), -1, 0) for one in (expected, answer))
        ours, theirs = (np.ascontiguousarray(one, np.float64) for one in (ours, theirs))
        finite = np.isfinite(ours)
        if not finite.all():
            ours, theirs = (np.where(finite, one, 0.0) for one in (ours, theirs))
        edges = (ours.min(1), ours.max(1), theirs.min(1), theirs.max(1), np.abs(theirs - ours).max(1))
        return cls(*edges, ours.shape[1])

    def joined(self, other: Channels) -> Channels:
        """Of two batches."""
        return Channels(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            np.minimum(self.file_low, other.file_low),
            np.maximum(self.file_high, other.file_high),
            np.maximum(self.difference, other.difference),
            self.count + other.count,
        )

    @property
    def magnitude(self) -> np.ndarray:
        """Largest absolute answer of the model, `(channels,)`."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def spread(self) -> np.ndarray:
        """How far the model's answers are apart, `(channels,)`."""
        return self.high - self.low

    @property
    def relative(self) -> np.ndarray:
        """Largest difference as a fraction of the channel's own largest answer, `(channels,)`."""
        floor = NOISE * self.magnitude.max(initial=0.0)
        return self.difference / np.maximum(np.maximum(self.magnitude, floor), np.finfo(np.float64).tiny)

    @property
    def is_constant(self) -> np.ndarray:
        """Where the file answers with one value, `(channels,)`."""
        return self.file_low == self.file_high

    @property
    def has_own_units(self) -> bool:
        """Whether scales differ by more than `APART`; what is noise beside the others has none."""
        alive = self.magnitude[self.magnitude > NOISE * self.magnitude.max(initial=0.0)]
        return alive.size > 1 and bool(alive.max() > APART * alive.min())
