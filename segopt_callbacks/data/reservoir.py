"""A uniform random sample of what passes by, of bounded size. Pure NumPy."""

from __future__ import annotations

import threading

import numpy as np

from segopt_callbacks.data.enough import enough

EXAMPLES = 128  # of images: ranges settle long before
BYTES = 64 * 2**20
FEWEST = 8  # kept however large they are


class Reservoir:
    """A uniform random sample of a stream of examples, whose length need not be known (Li 1994, algorithm L).

    As if each example had a random number in [0, 1), and the `capacity` lowest were held. Only the highest number held
    need be known, and it tells how many examples pass before one enters: after the first few, nearly all. Where
    examples are so large that `capacity` of them exceed `max_bytes`, those of the highest numbers are dropped, and
    `capacity` falls; what is left is a uniform sample still.

    Args:
        capacity: examples to hold; default: as many as are `enough`.
        max_bytes: of memory that they may take, but for the first `fewest`.
        fewest: examples that are held in any case.
        seed: of its own random numbers; equal streams give equal samples.

    Attributes:
        examples: those held, each a list of arrays without a batch axis; the sizes of two may differ.
        seen: length of the stream so far, as far as `add` was told.

    Example:
        >>> reservoir = Reservoir(2)
        >>> for batch in np.arange(12).reshape(3, 4):
        ...     wait = reservoir.add([batch])
        >>> len(reservoir.examples), reservoir.seen
        (2, 12)
    """

    def __init__(
        self, capacity: int | None = None, *, max_bytes: int = BYTES, fewest: int = FEWEST, seed: int = 0
    ) -> None:
        if capacity is not None and capacity < 1:
            raise ValueError(
                f"`capacity` must be a number of examples above 0; pass 1 or more. Received: capacity={capacity!r}."
            )
        self.examples: list[list[np.ndarray]] = []
        self.seen = 0
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._fewest = fewest
        self._bytes = 0
        self._highest = 1.0
        self._wait = 0
        self._random = np.random.default_rng(seed)
        self._lock = threading.Lock()  # batches may come from threads of an input pipeline

    def add(self, batch: list[np.ndarray], passed: int = 0) -> int:
        """Takes the next examples of the stream; those that enter are copied.

        Args:
            batch: arrays whose first axis counts the same examples.
            passed: how many examples came before them and need not be shown: at most what the last call returned.

        Returns:
            how many of the next examples will not enter.
        """
        size = len(batch[0])
        with self._lock:
            if size and self._capacity is None:
                self._capacity = enough([leaf[0] for leaf in batch], EXAMPLES)
            self.seen += passed + size
            self._wait -= passed
            while self._wait < size:
                self._enter([leaf[self._wait].copy() for leaf in batch])
                self._wait += 1 + self._gap()
            self._wait -= size
            return self._wait

    @property
    def _is_full(self) -> bool:
        return len(self.examples) == self._capacity

    def _enter(self, example: list[np.ndarray]) -> None:
        if self._is_full:
            self._drop()
        self.examples.append(example)
        self._bytes += _bytes(example)
        if self._is_full:
            self._lower()
        while self._bytes > self._max_bytes and len(self.examples) > self._fewest:
            if not self._is_full:
                self._lower()
            self._drop()
            self._capacity = len(self.examples)
            self._lower()

    def _drop(self) -> None:
        """Drops that of the highest number: any, with the same probability."""
        self._bytes -= _bytes(self.examples.pop(int(self._random.integers(len(self.examples)))))

    def _lower(self) -> None:
        """The highest number held, where each is now anywhere below the one before."""
        self._highest *= (1 - self._random.random()) ** (1 / len(self.examples))

    def _gap(self) -> int:
        """How many numbers in a row are above the highest one held."""
        if not self._is_full:
            return 0
        return int(self._random.geometric(self._highest)) - 1


def _bytes(example: list[np.ndarray]) -> int:
    return sum(leaf.nbytes for leaf in example)
