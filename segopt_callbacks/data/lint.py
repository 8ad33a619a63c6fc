"""What is odd about representative data: mistakes that no converter tells of, and that cost accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segopt_callbacks.data import forms

FEW = 32  # examples; fewer seldom show the ranges of deep layers
FACTOR = 16.0  # of the largest value: the ranges of 8 bits would have 4 of them left
_EVALUATED = 64  # examples


@dataclass
class Seen:
    """What is remembered of examples that pass by; they are read once.

    Attributes:
        first: the leaves of the first example, as the user gave them.
        largest: of each leaf, the largest magnitude in all examples; 0 where it holds no numbers.
        count: of examples.
    """

    first: list[np.ndarray] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)
    count: int = 0

    def add(self, leaves: Sequence[np.ndarray]) -> None:
        """Takes one more example, batch size 1."""
        largest = [float(np.abs(leaf).max(initial=0)) if leaf.dtype.kind in "biuf" else 0.0 for leaf in leaves]
        self.largest = list(map(max, self.largest, largest)) if self.count else largest
        self.first = self.first if self.count else list(leaves)
        self.count += 1


def lint(seen: Seen, evaluation: Any, specs: Any) -> list[str]:
    """Compares representative data with what the model is fed.

    Args:
        seen: the representative data.
        evaluation: evaluation data as `export_model` takes them, or `None`.
        specs: structure of `tf.TensorSpec`, batch first, what the model is fed.

    Returns:
        sentences, each of a rule, a remedy and the value; empty if all is well.

    Example:
        >>> import tensorflow as tf
        >>> seen = Seen()
        >>> for _ in range(40):
        ...     seen.add([np.full((1, 2), 255.0, np.float32)])
        >>> [one.partition("; ")[2] for one in lint(seen, (np.ones((4, 2)), None), tf.TensorSpec((None, 2)))]
        ['divide the bytes by 255 first. Received: values up to 255, where evaluation data go up to 1']
    """
    names = _names(specs)
    found = [
        sentence
        for name, spec, leaf in zip(names, forms.leaves(specs), seen.first, strict=True)
        for sentence in _unlike(name, spec, leaf)
    ]
    if evaluation is not None:
        fed = Seen()
        for example in itertools.islice(forms.evaluation_examples(evaluation), _EVALUATED):
            fed.add(forms.leaves(example))
        pairs = zip(names, seen.largest, fed.largest, strict=True)
        found += [sentence for pair in pairs for sentence in _badly_scaled(*pair)]
    if seen.count < FEW:
        found.append(
            f"representative data must be at least {FEW} examples to show the ranges of activations; pass more. "
            f"Received: {seen.count}"
        )
    return found


def _unlike(name: str, spec: Any, leaf: np.ndarray) -> list[str]:
    found = []
    if leaf.dtype.kind != np.dtype(spec.dtype.as_numpy_dtype).kind:
        found.append(
            f"representative data must have the dtype that the model is fed; cast them{name}. "
            f"Received: {leaf.dtype.name} for {spec.dtype.name}"
        )
    if not spec.shape[1:].is_compatible_with(leaf.shape[1:]):
        found.append(
            f"representative data must have the shape that the model is fed; reshape or resize them{name}. "
            f"Received: {leaf.shape[1:]} for {tuple(spec.shape[1:])}"
        )
    return found


def _badly_scaled(name: str, shown: float, fed: float) -> list[str]:
    if min(shown, fed) <= 0 or 1 / FACTOR < shown / fed < FACTOR:
        return []
    is_bytes = 1 < shown <= 255 and fed <= 1
    remedy = "divide the bytes by 255 first" if is_bytes else "scale both alike"
    return [
        f"representative data must be scaled as evaluation data are; {remedy}{name}. "
        f"Received: values up to {shown:.4g}, where evaluation data go up to {fed:.4g}"
    ]


def _names(specs: Any) -> list[str]:
    count = len(forms.leaves(specs))
    return [""] if count == 1 else [f" (input {index})" for index in range(count)]
