"""What is odd about representative data: mistakes that no converter tells of, and that cost accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
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
        fed = _seen(forms.evaluation_examples(evaluation))
        pairs = zip(names, seen.largest, fed.largest, strict=True)
        found += [sentence for pair in pairs for sentence in _badly_scaled(*pair)]
    if seen.count < FEW:
        found.append(
            f"representative data must be at least {FEW} examples to show the ranges of activations; pass more. "
            f"Received: {seen.count}"
        )
    return found


def unlike_training(evaluation: Any, sample: Sequence[Any]) -> list[str]:
    """Compares evaluation data with what the fit fed to the model.

    Args:
        evaluation: evaluation data in any form.
        sample: examples of the fit, each of batch size 1.

    Returns:
        sentences, each of a rule, a remedy and the value; empty if all is well, or they cannot be compared.

    Example:
        >>> told = unlike_training((np.full((4, 2), 255.0), None), [np.ones((1, 2))] * 4)
        >>> [one.partition("; ")[2] for one in told]
        ['divide the bytes by 255 first. Received: values up to 255, where training inputs go up to 1']
    """
    shown, fed = _seen(forms.evaluation_examples(evaluation)), _seen(sample)
    if len(shown.first) != len(fed.first):
        return []  # an export of another model than the one that is fitted
    names = _names(shown.first)
    found = [
        f"evaluation data must have the dtype of the training inputs; cast them{name}. "
        f"Received: {leaf.dtype.name} for {trained.dtype.name}"
        for name, leaf, trained in zip(names, shown.first, fed.first, strict=True)
        if leaf.dtype.kind != trained.dtype.kind
    ]
    kinds = ("evaluation data", "training inputs")
    for name, largest, trained_with in zip(names, shown.largest, fed.largest, strict=True):
        found += _badly_scaled(name, largest, trained_with, kinds)
    return found


def _seen(examples: Iterable[Any]) -> Seen:
    seen = Seen()
    for example in itertools.islice(examples, _EVALUATED):
        seen.add([np.asarray(leaf) for leaf in forms.leaves(example)])
    return seen


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


def _badly_scaled(
    name: str, shown: float, fed: float, kinds: tuple[str, str] = ("representative data", "evaluation data")
) -> list[str]:
    if min(shown, fed) <= 0 or 1 / FACTOR < shown / fed < FACTOR:
        return []
    is_bytes = 1 < shown <= 255 and fed <= 1
    remedy = "divide the bytes by 255 first" if is_bytes else "scale both alike"
    return [
        f"{kinds[0]} must be scaled as {kinds[1]} are; {remedy}{name}. "
        f"Received: values up to {shown:.4g}, where {kinds[1]} go up to {fed:.4g}"
    ]


def _names(specs: Any) -> list[str]:
    count = len(forms.leaves(specs))
    return [""] if count == 1 else [f" (input {index})" for index in range(count)]
