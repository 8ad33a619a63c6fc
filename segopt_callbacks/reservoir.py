"""A uniform random sample of what passes by, of bounded size. Pure NumPy."""

from __future__ import annotations

import threading

import numpy as np

EXAMPLES = 128  # ranges settle long before
BYTES = 64 * 2**20
FEWEST = 8  # kept however large they are


class Reservoir:
    """A uniform random sample of a stream of examples, whose length need not be known (Vitter 1985, algorithm R).

    Example `n` of the stream, counted from 1, enters with probability `capacity / n`, in place of a random one of those
    held: then each of the first `n` is held with the same probability. Where examples are so large that `capacity` of
    them exceed `max_bytes`, random ones are dropped, and `capacity` falls; what is left is a uniform sample still.

    Args:
        capacity: examples to hold.
        max_bytes: of memory that they may take, but for the first `fewest`.
        fewest: examples that are held in any case.
        seed: of its own random numbers; equal streams give equal samples.

    Attributes:
        examples: those held, each a list of arrays without a batch axis; the sizes of two may differ.
        seen: length of the stream so far.

    Example:
        >>> reservoir = Reservoir(2)
        >>> for batch in np.arange(12).reshape(3, 4):
        ...     reservoir.add([batch])
        >>> len(reservoir.examples), reservoir.seen
        (2, 12)
    """

    def __init__(
        self, capacity: int = EXAMPLES, *, max_bytes: int = BYTES, fewest: int = FEWEST, seed: int = 0
    ) -> None:
        if capacity < 1:
            raise ValueError(
                f"`capacity` must be a number of examples above 0; pass 1 or more. Received: capacity={capacity!r}."
            )
        self.examples: list[list[np.ndarray]] = []
        self.seen = 0
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._fewest = fewest
        self._bytes = 0
        self._random = np.random.default_rng(seed)
        self._lock = threading.Lock()  # batches may come from threads of an input pipeline

    def add(self, batch: list[np.ndarray]) -> None:
        """Takes the next examples of the stream; those that enter are copied.

        Args:
            batch: arrays whose first axis counts the same examples.
        """
        size = len(batch[0])
        with self._lock:
            counts = np.arange(self.seen + 1, self.seen + size + 1)
            self.seen += size
            places = self._random.integers(counts)  # each in [0, count)
            for index in np.flatnonzero((counts <= self._capacity) | (places < self._capacity)):
                self._enter([leaf[index].copy() for leaf in batch], int(counts[index]), int(places[index]))

    def _enter(self, example: list[np.ndarray], count: int, place: int) -> None:
        if count <= self._capacity:
            self.examples.append(example)
        elif place < self._capacity:  # it may have fallen since the batch began
            self._bytes -= _bytes(self.examples[place])
            self.examples[place] = example
        else:
            return
        self._bytes += _bytes(example)
        while self._bytes > self._max_bytes and len(self.examples) > self._fewest:
            dropped = self.examples.pop(int(self._random.integers(len(self.examples))))
            self._bytes -= _bytes(dropped)
            self._capacity = len(self.examples)


def _bytes(example: list[np.ndarray]) -> int:
    return sum(leaf.nbytes for leaf in example)
